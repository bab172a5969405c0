"""What the command line says: to a terminal, to a pipe, and to one whose reader has gone."""

import os

from denselab.console import Terminal


def test_a_reader_that_has_gone_does_not_end_the_work() -> None:
    """rich ends the process with code 1 there: `denselab train ... 2>&1 | head` killed the training."""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as pipe:
        console = Terminal(file=pipe, highlight=False)
        console.print("more than a buffer holds\n" * 5000)
        console.print("nobody hears this")
        assert console.quiet


def test_names_with_brackets_are_shown_as_they_are(capsys: object) -> None:
    from denselab.console import remark

    remark("photo [red] 1.jpg: [/] damaged")
    assert capsys.readouterr().err == "photo [red] 1.jpg: [/] damaged\n"  # type: ignore[attr-defined]
