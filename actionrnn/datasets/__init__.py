"""Labelled videos, and the splits that keep the evaluation honest."""
