"""Where objects may be: boxes from edges, from merged segments, or from windows of several sizes."""
