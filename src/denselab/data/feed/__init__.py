"""Samples -> batches: augmentation, resampling, order, cache."""
