"""Pictures whose bands lie in one file each: recognised by their names, or as data.yaml says.

The file of the first band stands for the picture; those of the other bands are taken out of the tree, so that no layout
takes them for pictures of their own.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import PurePosixPath

from denselab.data.item import Found, Item
from denselab.data.listing.tree import Tree, role_of_folders
from denselab.data.pixels.spectral import shared_part
from denselab.data.pixels.spectral_survey import GivenBands
from denselab.data.pixels.stored_bands import band_form
from denselab.data.pixels.tiff import TIFF_SUFFIXES
from denselab.documents import parse_json, read_bytes
from denselab.errors import DataError

SUFFIXES = (*TIFF_SUFFIXES, ".png", ".jp2", ".npy")  # of files that hold a single band
WORDS = "coastal|blue|green|red|nir2?|swir[12]?|pan|rededge[1-4]?|red_?edge|thermal|tir[12]?|vv|vh|hh|hv|dem|ndvi"
BAND = re.compile(rf"^(.+)([_.-])(b(?:0?[1-9]|1[0-2]|8a)|band_?\d{{1,2}}|{WORDS})$", re.IGNORECASE)
BEFORE = re.compile(rf"^({WORDS})([_.-])(.+)$", re.IGNORECASE)  # train_red/red_patch_1 beside train_nir/nir_patch_1
CHANNEL = re.compile(r"^(.+)(_)(00\d\d)$")  # nnU-Net: case_0000, case_0001, ... of one case
COMPLETE = 0.9  # of the pictures have a file for every band; `check` names the others


def in_band_files(tree: Tree, given: GivenBands, *, named: bool = False) -> tuple[Tree, GivenBands]:
    """The tree without the files of all bands but the first, and what is known of the bands.

    given: by data.yaml; without `files` and without `count` they are looked for in the names
    named: data.yaml has a pattern for the names of the pictures, so that a file of one band is a picture
    """
    if not named and not given.files and not given.count and not given.take:
        found = _by_band_name(tree) or _by_channel_number(tree) or _by_band_folder(tree)
        if found is not None and len(given.names) in (0, len(found.files)):
            given = replace(found, names=given.names or found.names, display=given.display)
    return (_with_first_band(tree, given.files), given) if given.files else (tree, given)


def with_bands(found: Found, given: GivenBands) -> Found:
    """Found that knows of the bands; its items are named by what the files of their bands share."""
    if not given.files:
        return replace(found, bands=given)
    items = tuple(_renamed(item, given.files[0]) for item in found.items)
    distinct = len({item.name for item in items}) == len(items)
    return replace(found, bands=given, items=items if distinct else found.items)


def _renamed(item: Item, first: str) -> Item:
    shared = shared_part(f"{item.name}.band", first)
    return item if shared is None else replace(item, name=shared[0] + shared[1].rstrip("_-."))


def _with_first_band(tree: Tree, patterns: Sequence[str]) -> Tree:
    firsts = {shared for f in tree.pictures if (shared := shared_part(f.as_posix(), patterns[0])) is not None}

    def is_other(file: PurePosixPath) -> bool:
        return any(shared_part(file.as_posix(), pattern) in firsts for pattern in patterns[1:])

    return replace(tree, files=tuple(file for file in tree.files if not is_other(file)))


def _by_band_name(tree: Tree) -> GivenBands | None:
    """a_B02.tif, a_B03.tif, ...: every picture of a folder has the same ending words, which name bands."""
    endings = _endings(tree, BAND)
    if endings is None or len(endings) < 2:
        return None
    names = tuple(ending[1:] for ending in endings)
    return GivenBands(names=names, files=tuple(f"*{ending}" for ending in endings))


def _by_channel_number(tree: Tree) -> GivenBands | None:
    """nnU-Net: case_0000.png, case_0001.png with the label case.png; frames of a film have a label each."""
    endings = _endings(tree, CHANNEL)
    if endings is None or len(endings) < 2 or list(endings) != [f"_{i:04d}" for i in range(len(endings))]:
        return None
    names = _channel_names(tree, len(endings))
    stems = {file.stem for file in tree.pictures}
    cases = {match[1] for file in tree.pictures if (match := CHANNEL.match(file.stem)) and match[3] == "0000"}
    if not names and len(cases & stems) < COMPLETE * len(cases):
        return None
    names = names or tuple(f"channel{i}" for i in range(len(endings)))
    return GivenBands(names=names, files=tuple(f"*{ending}" for ending in endings))


def _by_band_folder(tree: Tree) -> GivenBands | None:
    """train_red/red_a.tif, train_nir/nir_a.tif: a folder for each band, whose files begin with it (38-Cloud)."""
    pictures = [file for file in tree.pictures if not _in_label_folder(file)]
    scenes: dict[PurePosixPath, set[tuple[str, str]]] = defaultdict(set)
    for file in pictures:
        match = BEFORE.match(file.stem)
        if match is None or len(file.parts) < 2 or file.suffix.lower() not in SUFFIXES:
            return None
        scenes[file.parent.parent / match[3]].add((f".{match[1]}", f"{file.parent.name}/{match[1]}{match[2]}*"))
    bands, often = Counter(map(frozenset, scenes.values())).most_common(1)[0] if scenes else (frozenset(), 0)
    if len(bands) < 2 or often < COMPLETE * len(scenes) or not _has_one_band(pictures[0], tree):
        return None
    ordered = sorted(bands, key=lambda band: _in_order(band[0]))
    return GivenBands(names=tuple(name[1:] for name, _ in ordered), files=tuple(pattern for _, pattern in ordered))


def _endings(tree: Tree, pattern: re.Pattern[str]) -> list[str] | None:
    """The endings, sorted, that nearly every picture has; None where others lie beside them, or they are in colour."""
    pictures = [file for file in tree.pictures if not _in_label_folder(file)]
    scenes: dict[PurePosixPath, set[str]] = defaultdict(set)
    for file in pictures:
        match = pattern.match(file.stem)
        if match and file.suffix.lower() in SUFFIXES:
            scenes[file.parent / match[1]].add(match[2] + match[3])
    if not scenes:
        return None
    if not _has_one_band(next(file for file in pictures if pattern.match(file.stem)), tree):
        return None
    folders = {scene.parent for scene in scenes}
    # A file beside them that has the name they share is their label.
    others = [
        f for f in pictures if f.parent in folders and not pattern.match(f.stem) and f.with_suffix("") not in scenes
    ]
    endings, often = Counter(frozenset(endings) for endings in scenes.values()).most_common(1)[0]
    return sorted(endings, key=_in_order) if often >= COMPLETE * len(scenes) and not others else None


def _has_one_band(file: PurePosixPath, tree: Tree) -> bool:
    try:
        return band_form(tree.path(file)).count == 1
    except DataError:
        return False


def _in_order(ending: str) -> tuple[int, str]:
    """By number where it has one, 8A after 8; red, green, blue, near infrared as in a picture."""
    words = ("coastal", "red", "green", "blue", "nir")
    plain = ending[1:].lower()
    number = re.search(r"\d+", plain)
    if plain in words:
        return words.index(plain), plain
    return (int(number[0]) if number else 99), plain


def _in_label_folder(file: PurePosixPath) -> bool:
    return role_of_folders(file) in ("label", "other")


def _channel_names(tree: Tree, count: int) -> tuple[str, ...]:
    """The names of nnU-Net's dataset.json; () without them."""
    for file in tree.files:
        if file.name != "dataset.json" or len(file.parts) > 2:
            continue
        try:
            content = parse_json(read_bytes(tree.path(file)))
            names = content.get("channel_names") or content.get("modality")
            return tuple(str(names[str(channel)]) for channel in range(count))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue
    return ()
