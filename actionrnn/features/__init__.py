"""Frames become feature vectors."""
