"""What lies at a path: one data set, parts of one, several, or a form that is known and not read."""
