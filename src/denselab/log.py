"""Where the lines go that say what is being done and why: logging's logger "denselab", with a child per module.

By default a line appears on stderr as the command line shows it, also in a notebook or script: message only, no level, no
name. It stays away as soon as the program routes logging itself, with a handler of its own on "denselab" or on the root
logger (`logging.basicConfig`, a server's configuration): then that handler has the line and nothing is said twice.

    logging.getLogger("denselab").setLevel(logging.WARNING)             # only what may need a hand
    logging.getLogger("denselab").addHandler(logging.NullHandler())     # nothing at all
    logging.getLogger("denselab").addHandler(logging.FileHandler("denselab.log"))
"""

import logging

logger = logging.getLogger("denselab")


class ConsoleHandler(logging.Handler):
    """A record as one line on stderr, above the progress bar where there is one.

    alone: only where no other handler would get the record; the command line, whose terminal it is, sets it to False.
    """

    alone = True

    def emit(self, record: logging.LogRecord) -> None:
        """Show the record, unless the program has handlers of its own."""
        if self.alone and _routed():
            return
        try:
            from denselab.console import remark  # brings rich, which `import denselab` need not

            remark(self.format(record))
        except Exception:  # as all handlers do: a line that cannot be shown ends no work
            self.handleError(record)


HANDLER = ConsoleHandler()


def _routed() -> bool:
    others = [handler for handler in logger.handlers if handler is not HANDLER]
    return bool(others or (logger.propagate and logging.getLogger().handlers))


def show_by_default() -> None:
    """What `import denselab` does: lines from level INFO on appear on stderr until the program says otherwise."""
    if HANDLER not in logger.handlers:
        logger.addHandler(HANDLER)
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.INFO)


def show_always() -> None:
    """What the command line does: lines appear on its stderr whatever the libraries do to logging, and nowhere else."""
    show_by_default()
    HANDLER.alone = False
