"""Stored features become a trained head, and a report on it."""
