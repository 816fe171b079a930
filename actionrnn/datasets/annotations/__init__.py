"""What people marked in videos, in the formats of the tools that they use."""
