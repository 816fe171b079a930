"""Feature vectors become action scores."""
