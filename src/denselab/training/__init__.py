"""Training: from settings and a data set to a run folder."""
