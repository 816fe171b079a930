"""Predictions become a report: numbers, how sure they are, tables and a page."""
