"""The `denselab` command: one file per command, which parses and prints; the work is done by the library."""
