"""Text and tables that others wrote, read within bounds: ordinary files only, limited in size, depth and aliases.

The one way to read YAML and JSON. Each caller turns Unreadable into its own error, which names the file and the remedy.
"""

import json
import os
import stat
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from pathlib import Path
from typing import Any, BinaryIO

import yaml

MAX_BYTES = 64 * 2**20  # of a table, a list or a record
MAX_ANNOTATIONS = 4 * 2**30  # of an annotation file; COCO's largest has 0.5 GB, LVIS's 1.1 GB
MAX_WEIGHTS = 32 * 2**30  # of a file of weights; the largest networks here have 1 GB
MAX_YAML_BYTES = 4 * 2**20  # PyYAML reads about 0.3 MB/s
CHUNK = 2**20
MAX_YAML_DEPTH = 64
MAX_YAML_NODES = 500_000  # with every alias written out


class Unreadable(ValueError):
    """Why a document is not read, in words, without its name."""


def open_ordinary(path: Path) -> BinaryIO:
    """Open an ordinary file, or a link to one, for reading.

    Raises Unreadable at once for a folder, a pipe, a device or a socket, which might never end or never answer, and
    OSError as `open` does.
    """
    try:
        mode = path.stat().st_mode
    except ValueError as error:  # a null character in the name
        raise Unreadable(f"its name cannot be used: {error}") from None
    if not stat.S_ISREG(mode):
        kinds = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
        raise Unreadable(f"it is {kinds.get(stat.S_IFMT(mode), 'a device')}, not an ordinary file")
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    return os.fdopen(handle, "rb")


def read_bytes(path: Path, limit: int = MAX_BYTES) -> bytes:
    """The content of an ordinary file of at most `limit` bytes. Raises Unreadable, and OSError as `open` does."""
    with open_ordinary(path) as file:
        size = os.fstat(file.fileno()).st_size
        parts = [file.read(min(size, limit) + 1)]  # one call for a file that does not grow meanwhile
        while parts[-1] and sum(map(len, parts)) <= limit:
            parts.append(file.read(CHUNK))
    content = b"".join(part for part in parts if part)  # of one part, join makes no copy
    if len(content) > limit:
        raise Unreadable(f"it has more than {limit:,} bytes, far more than such a file needs")
    return content


def read_text(path: Path, limit: int = MAX_BYTES, encoding: str = "utf-8") -> str:
    """The text of an ordinary file, line ends as they are. Raises Unreadable, UnicodeDecodeError and OSError.

    UTF-16 is read where the file begins with its mark, as PowerShell writes lists and Excel tables.
    """
    content = read_bytes(path, limit)
    return content.decode("utf-16" if content.startswith((BOM_UTF16_LE, BOM_UTF16_BE)) else encoding)


def parse_json(content: bytes | str) -> Any:
    """The value of a JSON document. Raises Unreadable."""
    try:
        return json.loads(content)
    except RecursionError:
        raise Unreadable("it is nested too deeply") from None
    except ValueError as error:  # also a number of more than 4,300 digits, and bytes that are not UTF-8
        raise Unreadable(str(error)) from None


def parse_record(line: str) -> dict[str, Any]:
    """What a line of a .jsonl file holds; {} for one that is no record: a kill may have cut it short."""
    try:
        record = parse_json(line)
    except Unreadable:
        return {}
    return record if isinstance(record, dict) else {}


def parse_yaml(text: str) -> Any:
    """The value of a YAML document: plain values only; dates stay text, as all words do.

    Raises Unreadable, also for a key that is given twice, and for more depth or aliases than settings need.
    """
    if len(text) > MAX_YAML_BYTES:
        raise Unreadable(f"it has more than {MAX_YAML_BYTES:,} characters, far more than settings need")
    try:
        return yaml.load(text, Loader=_Loader)  # a SafeLoader: plain values, no objects
    except yaml.YAMLError as error:
        raise Unreadable(" ".join(str(error).split())) from None
    except Unreadable:
        raise
    except (ValueError, OverflowError, AttributeError, TypeError) as error:  # numbers that Python does not take
        raise Unreadable(f"it holds a value that cannot be read: {error}") from None


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader with limits."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - the class attribute of PyYAML
        first: [(tag, pattern) for tag, pattern in pairs if tag != "tag:yaml.org,2002:timestamp"]
        for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self.depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.depth > MAX_YAML_DEPTH:
            raise Unreadable(f"it is nested more than {MAX_YAML_DEPTH} levels deep")
        self.depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1

    def compose_document(self) -> yaml.Node | None:
        node = super().compose_document()
        if node is not None:
            _written_out(node, {})
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        if isinstance(node, yaml.MappingNode):
            _refuse_double_keys(node)
        return super().construct_mapping(node, deep)


def _written_out(node: yaml.Node, sizes: dict[int, int]) -> int:
    """Nodes below and including `node` with every alias written out. Raises Unreadable above MAX_YAML_NODES.

    sizes: by id of a node; 0 while it is being counted.
    """
    if id(node) in sizes:
        if not sizes[id(node)]:
            raise Unreadable("an alias in it refers to itself")
        return sizes[id(node)]
    sizes[id(node)], total = 0, 1
    if isinstance(node, yaml.CollectionNode):
        for entry in node.value:
            total += sum(_written_out(part, sizes) for part in (entry if isinstance(entry, tuple) else (entry,)))
    if total > MAX_YAML_NODES:
        raise Unreadable(f"it has more than {MAX_YAML_NODES:,} values, aliases written out")
    sizes[id(node)] = total
    return total


def _refuse_double_keys(node: yaml.MappingNode) -> None:
    seen: set[tuple[str, str]] = set()
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode) or key.tag == "tag:yaml.org,2002:merge":
            continue
        if (key.tag, key.value) in seen:
            raise Unreadable(f"the key {key.value!r} is given twice, again in line {key.start_mark.line + 1}")
        seen.add((key.tag, key.value))
