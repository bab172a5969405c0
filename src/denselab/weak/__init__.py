"""Training on less than masks: what boxes, tags and a network together say of each pixel."""
