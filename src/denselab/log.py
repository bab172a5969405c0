"""Where lines about what is being done and why go: logging's logger "denselab", with a child per module.

By default, in a notebook or script too, a line appears on stderr as the command line shows it: message only, no level
and no name. This stops as soon as the program sets up logging itself, with its own handler on "denselab" or on the root
logger (`logging.basicConfig`, a server's configuration): then that handler gets the line and nothing is printed twice.

    logging.getLogger("denselab").setLevel(logging.WARNING)             # only what may need a hand
    logging.getLogger("denselab").addHandler(logging.NullHandler())     # nothing at all
    logging.getLogger("denselab").addHandler(logging.FileHandler("denselab.log"))
"""

import logging
from collections.abc import Callable

logger = logging.getLogger("denselab")


class ConsoleHandler(logging.Handler):
    """Shows a record as one line on stderr, above the progress bar if there is one.

    alone: show a record only if no other handler would get it; the command line, which owns the terminal, sets it to
        False.
    in_words: what makes of a line that which is shown; the command line turns arguments into flags.
    """

    alone = True
    in_words: Callable[[str], str] | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Show the record, unless the program has its own handlers."""
        if self.alone and _routed():
            return
        try:
            from denselab.console import remark  # imports rich, which `import denselab` does not need

            line = self.format(record)
            remark(line if self.in_words is None else self.in_words(line))
        except Exception:  # as in all handlers: a line that cannot be shown must not stop the work
            self.handleError(record)


HANDLER = ConsoleHandler()


def _routed() -> bool:
    others = [handler for handler in logger.handlers if handler is not HANDLER]
    return bool(others or (logger.propagate and logging.getLogger().handlers))


def show_by_default() -> None:
    """What `import denselab` does: lines of level INFO and above appear on stderr until the program says otherwise."""
    if HANDLER not in logger.handlers:
        logger.addHandler(HANDLER)
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.INFO)


def show_always(in_words: Callable[[str], str] | None = None) -> None:
    """What the command line does: lines appear on its stderr and nowhere else, whatever libraries do to logging.

    in_words: what makes of a line that which is shown
    """
    show_by_default()
    HANDLER.alone = False
    HANDLER.in_words = in_words
