"""Numbers, lists, sizes of memory and lengths of time in words, as messages tell them."""

from collections.abc import Iterable


def number_of(number: int, noun: str, plural: str = "") -> str:
    """A number with its noun: "1 picture", "2,048 pictures".

    plural: where it is not the noun with an s
    """
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def first_few(names: Iterable[object], limit: int = 3) -> str:
    """The first names, and how many more there are: "a, b, c and 2 more"."""
    listed = [str(name) for name in names]
    rest = f" and {len(listed) - limit} more" if len(listed) > limit else ""
    return ", ".join(listed[:limit]) + rest


def bytes_in_words(number: float) -> str:
    """ "3 KiB", "12 MiB", "5.7 GiB"."""
    if 0 < number < 2**19:
        return f"{max(number / 2**10, 1):.0f} KiB"
    return f"{number / 2**20:.0f} MiB" if number < 2**30 else f"{number / 2**30:.1f} GiB"


def seconds_in_words(seconds: float) -> str:
    """ "45 s", "2.5 min", "16 min", "2.5 h"."""
    if seconds < 100:
        return f"{seconds:.2g} s" if seconds < 1 else f"{seconds:.0f} s"
    if seconds < 570:
        return f"{seconds / 60:.2g} min"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
