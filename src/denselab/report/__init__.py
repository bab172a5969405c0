"""Reports: HTML pages about runs, models and data sets."""
