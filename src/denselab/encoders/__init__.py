"""Trunks that turn pictures into feature maps."""
