"""Synthetic street scenes with exact labels."""
