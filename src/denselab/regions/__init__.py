"""Regions of a picture: superpixels, and segments that may be objects."""
