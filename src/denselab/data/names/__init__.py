"""The names of classes: which file has them, and what it says."""
