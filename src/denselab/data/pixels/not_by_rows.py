"""NotByRows: a file whose format, or whose own form of it, cannot be read by bands of rows."""

from denselab.errors import DataError


class NotByRows(DataError):
    """This file has to be read as a whole; the message says why."""
