"""The files of a data set, listed once: what the words of their names say, which label belongs to which picture."""
