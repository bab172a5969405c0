"""The language of a page: English sentences stand where they are used, korean.py holds the same in Korean."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from denselab.report.html import Html, page
from denselab.report.korean import PHRASES, SENTENCES, TITLES

Language = Literal["en", "ko"]


@dataclass(frozen=True)
class Say:
    """Says a sentence in one language: `say("{count} layers", count=8)`."""

    language: Language = "en"

    def __call__(self, english: str, **values: object) -> str:
        """The sentence with its values, which stay as they are."""
        return (english if self.language == "en" else SENTENCES.get(english, english)).format(**values)

    def told(self, english: str) -> str:
        """A finished sentence from elsewhere, such as a model's caption; one that is not known stays English."""
        return english if self.language == "en" else looked_up(english, PHRASES)

    def title(self, english: str) -> str:
        """The title of a network."""
        return english if self.language == "en" else looked_up(english, TITLES)

    def page(self, title: str, body: Iterable[Html]) -> str:
        """A whole document, see html.page; on a Korean one each English term stands where it is first read."""
        written = page(title, body, self.language)
        return written if self.language == "en" else terms_once(written)


def looked_up(english: str, table: Mapping[str, str]) -> str:
    """The Korean of a finished sentence, by the first line of the table that it fits; itself where there is none."""
    for line, korean in table.items():
        pattern = re.sub(r"\\{(\w+)\\}", r"(?P<\1>.+?)", re.escape(line))
        if found := re.fullmatch(pattern, english):
            return korean.format(**{name: looked_up(value, table) for name, value in found.groupdict().items()})
    return english


def terms_once(written: str) -> str:
    """The page with the English term behind a Korean one in brackets only where it is first read, in no attribute."""
    known = set(re.findall(r"[가-힣]+\([a-z -]+\)", " ".join((SENTENCES | PHRASES | TITLES).values())))
    terms = re.compile("|".join(map(re.escape, sorted(known, key=len, reverse=True))))
    seen: set[str] = set()

    def once(found: re.Match[str]) -> str:
        term, english = found[0].split("(")
        first = english not in seen
        seen.add(english)
        return found[0] if first else term

    parts = re.split(r"(<[^>]*>)", written)
    tags = [re.sub(terms, lambda found: found[0].split("(")[0], part) for part in parts[1::2]]
    parts[0::2], parts[1::2] = [terms.sub(once, part) for part in parts[0::2]], tags
    return "".join(parts)
