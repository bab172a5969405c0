"""Parts that two networks or more share."""
