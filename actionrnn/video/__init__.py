"""A file, camera or stream becomes frames."""
