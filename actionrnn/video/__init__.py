"""Reads files, addresses, cameras and folders of pictures as frames with times."""
