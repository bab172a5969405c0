"""Pictures and label maps at another size: one set of taps, compiled for crops, or as products of matrices."""
