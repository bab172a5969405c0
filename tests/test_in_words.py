"""Numbers, lists and lengths of time as messages tell them."""

from denselab.in_words import bytes_in_words, first_few, number_of, seconds_in_words


def test_the_first_names() -> None:
    assert first_few(["a", "b"]) == "a, b"
    assert first_few("abcde") == "a, b, c and 2 more"


def test_numbers_agree_with_their_nouns() -> None:
    assert [number_of(n, "picture") for n in (0, 1, 2048)] == ["0 pictures", "1 picture", "2,048 pictures"]


def test_sizes() -> None:
    assert [bytes_in_words(n) for n in (0, 100, 3000, 2**20, 3 * 2**29)] == [
        "0 MiB",
        "1 KiB",
        "3 KiB",
        "1 MiB",
        "1.5 GiB",
    ]


def test_lengths_of_time() -> None:
    assert [seconds_in_words(s) for s in (0.01, 5, 99, 150, 300, 570, 3599.9, 9000)] == [
        *("0.01 s", "5 s", "99 s", "2.5 min", "5 min", "10 min", "60 min", "2.5 h")
    ]
