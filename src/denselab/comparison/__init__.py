"""Which design is right for the data: several models under one budget, measured alike, and told in one report."""
