"""What library code says: shown by default, left to the program as soon as the program has handlers of its own."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from denselab import log
from denselab.log import HANDLER, show_by_default

Lines = pytest.CaptureFixture[str]


@contextmanager
def script() -> Iterator[None]:
    """The state of a plain script: no handler but DenseLab's own (pytest adds its own to the root for each test's call)."""
    root, level = logging.getLogger(), log.logger.level
    handlers, root.handlers, HANDLER.alone = root.handlers, [], True
    try:
        yield
    finally:
        root.handlers, HANDLER.alone = handlers, False
        log.logger.setLevel(level)
        log.logger.handlers = [HANDLER]


def say(text: str = "class weights: sky [0.61]") -> None:
    logging.getLogger("denselab.training.records").info(text)


def test_a_script_sees_the_lines_without_asking(capsys: Lines) -> None:
    with script():
        say()
    assert capsys.readouterr().err == "class weights: sky [0.61]\n"


@pytest.mark.parametrize("name", ["denselab", ""])
def test_a_program_with_handlers_of_its_own_gets_the_lines_once(name: str, capsys: Lines) -> None:
    heard: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: heard.append(record.getMessage())  # type: ignore[method-assign]
    with script():
        logging.getLogger(name).handlers.append(handler)
        say("on its way")
    assert (heard, capsys.readouterr().err) == (["on its way"], "")


def test_a_level_or_a_null_handler_makes_it_quiet(capsys: Lines) -> None:
    with script():
        log.logger.setLevel(logging.WARNING)
        show_by_default()  # as another import would: what the program chose stays
        say()
    with script():
        log.logger.addHandler(logging.NullHandler())
        say()
    assert capsys.readouterr().err == ""


def test_the_command_line_speaks_whatever_libraries_do_to_logging(
    capsys: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(HANDLER, "alone", True)
    logging.getLogger().addHandler(handler := logging.NullHandler())
    try:
        log.show_always()
        say()
    finally:
        logging.getLogger().removeHandler(handler)
    assert capsys.readouterr().err == "class weights: sky [0.61]\n"
