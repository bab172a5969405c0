"""Files of a data set -> pictures, labels, and what they mean."""
