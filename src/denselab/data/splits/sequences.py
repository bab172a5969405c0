"""Which pictures belong together by their names: frames of a video, views of a subject, tiles of a scene, copies."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from math import gcd
from pathlib import Path, PurePosixPath

import numpy as np

from denselab.data.item import FileLabels, Item
from denselab.data.listing.tree import IMAGE_WORDS, LABEL_WORDS, SPLIT_WORDS, words
from denselab.data.splits.copies import made_before, original_of, originals
from denselab.data.splits.things import KIND_WORDS, beginnings, things_of

# Names of video frames: a sequence, then a running number of three digits or more, maybe with a letter before it.
FRAME = re.compile(r"^(?P<sequence>.*?)[_\-. ]?(?:frame|fr|f)?[_\-. ]?(?P<number>\d{3,})$", re.IGNORECASE)
# The same with the seconds of a film: GH010123_12.5s.
SECONDS = re.compile(r"^(?P<sequence>.+?)[_\-. ](?:t=?)?\d+[.,]\d+s?$", re.IGNORECASE)
# The same with one or two digits; taken where something else tells that they count frames or views.
SHORT = re.compile(
    r"^(?P<sequence>.*?)[_\-. ]?(?:frame|slice|view|tile|patch|crop|fr|f|z|t)?[_\-. ]?(?P<number>\d{1,2})$",
    re.IGNORECASE,
)
# Tiles of a scene: scene_0_512, scene_x512_y1024.
TILE = re.compile(r"^(?P<scene>.*?)[_\-. ]?[a-z]?(?P<row>\d+)[_\-. ][a-z]?(?P<column>\d+)$", re.IGNORECASE)
# The same with the words for rows and columns, whatever the step: scene_r0_c1, scene_row2_col0, scene_y0_x3.
GRID = re.compile(
    r"^(?P<scene>.+?)[_\-. ]?(?:(?:r|row|y)[_\-]?\d+[_\-. ]?(?:c|col|column|x)[_\-]?\d+|x[_\-]?\d+[_\-. ]?y[_\-]?\d+)$",
    re.IGNORECASE,
)
# A patient, a case, a slide: what is numbered so has several slices, views or tiles.
SUBJECT = re.compile(
    r"(?:^|[/_\-. ])((?:patient|subject|subj|donor|case|volume|vol|slide)[_\-. ]?\d+"
    r"|TCGA[_\-][A-Z0-9]{2}[_\-][A-Z0-9]{4})(?=[/_\-. \[])",
    re.IGNORECASE,
)
# A number of a scene and a word before short numbers: 10452_sat_08.
SCENE = re.compile(r"\d{3,}[_\-. ][a-z]+$", re.IGNORECASE)
# Tiles whose place stands before the scene: patch_12_3_by_4_LC08_scene.
BEHIND = re.compile(r"^(?:patch|tile|crop)[_\-](?:\d+[_\-]|by[_\-]|x[_\-])+(?P<scene>[a-z].+)$", re.IGNORECASE)
# Crops named by their box, in either order: scene_120_40_376_296.
BOX = re.compile(r"^(?P<scene>.+?)[_\-. ](\d+)[_\-. ](\d+)[_\-. ](\d+)[_\-. ](\d+)$")
# Two views of one thing, whose names differ in a word: 000007_left, place_3_pre_disaster.
VIEW = re.compile(r"^(.*?)(?:^|[_\-. ])(?:left|right|pre|post|before|after)(?=[_\-. ]|$)(.*)$", re.IGNORECASE)
EYE = re.compile(r"^(.*\d)[LR]$")  # 01L beside 01R, of one child (CHASE_DB1)
# Words behind the last number of a name.
END = re.compile(r"(?<=\d)(?:[_\-. ][a-z]+)+$", re.IGNORECASE)
TILE_STEP = 16  # pixels from one tile to the next, at least
SHORT_STEP = 100  # between the numbers of neighbouring pictures: a video of which every 100th frame was labelled
SERIES_WORDS = frozenset(
    ("clip", "seq", "sequence", "video", "camera", "cam", "day", "night", "drive", "scene", "part", "sess", "run")
)
# QuPath's regions of a slide: slide [d=2,x=0,y=512,w=512,h=512].
REGION = re.compile(r"^(?P<scene>.+?)[_\- ]*\[(?:[a-z]=[\d.]+,)*x=\d+,y=\d+,w=\d+,h=\d+(?:,[a-z]=\d+)*\]$")
# A word of digits and letters that numbers things, as 0cdf5b5d0ce1 numbers Carvana's cars.
HASH = re.compile(r"(?<![0-9a-z])(?=[a-f]*\d)(?=\d*[a-f])[0-9a-f]{8,}(?![0-9a-z])")
YEAR = re.compile(r"^(19|20)\d\d$")
MONTH = re.compile(r"^(19|20)\d\d[-_.]?(\d\d)?$")
# The moment that a picture was taken at: 170927_063811892, 20240301-101500, 2024-03-01T10-15-00.
MOMENT = re.compile(
    r"(?<!\d)(?:\d{6}|(?:19|20)\d{6})[_\-T. ]?\d{6,}(?!\d)|(?<!\d)(?:19|20)\d\d-\d\d-\d\d[T_\-. ]\d\d[_\-.h]?\d\d"
)
# Words of numbered folders that tell when a thing was looked at: plantA/day1.
TIME_WORDS = frozenset(("day", "week", "month", "year", "visit", "session", "date", "time", "tag", "woche"))


def sequence_of(name: str) -> str:
    """The sequence that a picture's name belongs to: "0001TP_006690" -> "0001TP", "clip/00012" -> "clip/".

    A name without a running number is its own sequence, and so is one whose prefix is a year (2007_000033 of VOC).
    Augmented copies of a picture have that of the picture.
    """
    name = original_of(name)
    path = PurePosixPath(name)
    folder = "" if str(path.parent) == "." else f"{path.parent}/"
    region = REGION.match(path.name)
    if region:
        return folder + region["scene"]
    frame = SECONDS.match(path.name) or FRAME.match(path.name)
    if frame is None or YEAR.match(frame["sequence"]):
        return name
    return _in_whole(folder, frame["sequence"])


def short_sequence_of(name: str) -> str:
    """The sequence of a name that ends in one or two digits: "P001_02" -> "P001", "c1/7" -> "c1/"; else itself."""
    path = PurePosixPath(original_of(name))
    short = None if FRAME.match(path.name) else SHORT.match(path.name)
    folder = "" if str(path.parent) == "." else f"{path.parent}/"
    return str(path) if short is None else _in_whole(folder, short["sequence"])


def _in_whole(folder: str, sequence: str) -> str:
    """A sequence in a folder; the whole that the folder is of, where it is called as a part of one."""
    parts = PurePosixPath(folder).parts
    whole = _whole(parts)
    return folder + sequence if len(whole) == len(parts) else "/".join(whole) + "/"


def _is_told(key: str) -> bool:
    """Whether a sequence's name says that short numbers count its pictures: clip_b, P001, but not scene, 2021-05."""
    stem = PurePosixPath(key).name
    if not key.endswith("/") and MONTH.match(stem):
        return False
    tokens = words(stem)
    if SCENE.search(stem) and not YEAR.match(tokens[0]):
        return True
    several = len(tokens) > 1 or key.endswith("/")
    return stem[-1:].isdigit() or bool(HASH.search(stem)) or bool(several and SERIES_WORDS.intersection(tokens))


def scene_of(name: str) -> str:
    """The scene of a tile: "area1_0_512" -> "area1"; the name where it is not a tile's."""
    path = PurePosixPath(original_of(name))
    tile = BEHIND.match(path.name) or _box(path.name) or GRID.match(path.name) or TILE.match(path.name)
    folder = "" if str(path.parent) == "." else f"{path.parent}/"
    return str(path) if tile is None else folder + tile["scene"]


def names_can_say(name: str) -> frozenset[str]:
    """All groups that a name may have been given by `with_groups`."""
    ways = (original_of, sequence_of, short_sequence_of, scene_of, subject_of, view_of, case_of)
    said = {way(one) for one in (name, made_before(name), END.sub("", name)) for way in ways}
    return frozenset((*said, *beginnings(name), *map(str, PurePosixPath(name).parents)))  # a folder is that of a drive


def with_groups(items: Sequence[Item]) -> tuple[Item, ...]:
    """Items with their sequences. Names that all share one stem are not a sequence: each stands for itself.

    Nor are names whose numbers do not follow each other (exp1_num_108719), and those of folders of a class.
    """
    names = without_ending(originals([item.name for item in items]))
    said = _by_names(names)
    classes = class_folders(items)
    scattered = _scattered([name for name, item in zip(names, items, strict=True) if not item.group], said)
    keys = [
        item.group or (name if said[name] in scattered or str(PurePosixPath(name).parent) in classes else said[name])
        for name, item in zip(names, items, strict=True)
    ]
    if len(set(keys)) == 1:
        keys = names
    return tuple(replace(item, group=key) for item, key in zip(items, _of_one_label(items, keys), strict=True))


def _of_one_label(items: Sequence[Item], keys: Sequence[str]) -> list[str]:
    """The groups of items, joined where pictures share a label file: exposures of one scene, a camera that stands."""
    of_label: dict[Path, set[str]] = defaultdict(set)
    for item, key in zip(items, keys, strict=True):
        if isinstance(item.source, FileLabels):
            of_label[item.source.path].add(key)
    joined: dict[str, str] = {}

    def first(key: str) -> str:
        while key in joined:
            key = joined[key]
        return key

    for shared in of_label.values():
        start, *others = sorted({first(key) for key in shared})
        joined.update(dict.fromkeys(others, start))
    return [first(key) for key in keys]


def without_ending(names: Sequence[str]) -> list[str]:
    """Names without the words that all of them end with: frame_80_endo, GOPR0475_frame_000041_rgb_anon."""
    ends = {(END.search(name) or [""])[0] for name in names}
    return [name.removesuffix(next(iter(ends))) for name in names] if len(ends) == 1 else list(names)


def _by_names(names: Sequence[str]) -> dict[str, str]:
    """{name: its sequence or scene}: frames, tiles, and short numbers where that is told or longer ones exist."""
    frames = {name: sequence_of(name) for name in names}
    long = {key for name, key in frames.items() if key != name}
    short = {name: short_sequence_of(name) for name, key in frames.items() if key == name}
    joined = {name: key for name, key in short.items() if key in long or (key != name and _is_told(key))}
    said = frames | joined | tiles(names)
    subjects = {name: key for name in names if (key := subject_of(name)) not in (name, said[name].rstrip("/"))}
    said |= subjects
    said |= _views_and_cases([name for name, key in said.items() if key == name]) | _drives(names)
    often = Counter(said.values())
    return said | things_of(name for name in names if often[said[name]] == 1)


def _views_and_cases(names: Sequence[str]) -> dict[str, str]:
    """{name: what it shares with others}: views of one thing, and pictures that count anew in each numbered folder."""
    views = {name: view_of(name) for name in names}
    often = Counter(views.values())
    cases = {name: home for name in names if (home := case_of(name)) != name}
    things = {name: str(PurePosixPath(home).parent) if _is_time(home) else home for name, home in cases.items()}
    cases = things if len(set(things.values())) > 2 else cases  # plantA/day1 is of plantA, seen twice
    behind = {name: _behind(name, home) for name, home in cases.items()}
    counted = Counter(behind.values())
    anew = sum(counted[rest] > 1 for rest in behind.values())
    said = cases if len(set(cases.values())) > 2 and 2 * anew > len(cases) else {}
    return said | {name: key for name, key in views.items() if key != name and often[key] > 1}


def _drives(names: Sequence[str]) -> dict[str, str]:
    """{name: folder} of pictures called by the moment they were taken at, in three numbered folders or more.

    The outermost such folder: of a drive, not of each of its cameras.
    """
    taken = {name: PurePosixPath(name).parts for name in names if MOMENT.search(PurePosixPath(name).name)}
    for depth in range(1, min(map(len, taken.values()), default=0)):
        homes = {name: "/".join(parts[:depth]) for name, parts in taken.items()}
        numbered = all(any(map(str.isdigit, words(parts[depth - 1]))) for parts in taken.values())
        if numbered and 2 < len(set(homes.values())) < len(homes):
            return homes
    return {}


def _is_time(folder: str) -> bool:
    return not TIME_WORDS.isdisjoint(words(PurePosixPath(folder).name))


def _behind(name: str, home: str) -> str:
    """What tells a picture within its folder, also where that stands before its name: scene_7/scene_7_0 -> /_0."""
    folder = PurePosixPath(home).name
    return name[len(home) :].replace(f"/{folder}", "/", 1)


def view_of(name: str) -> str:
    """A name without the word that tells one of two views: "000007_left", "000007L" -> "000007"; else the name."""
    path = PurePosixPath(name)
    eye = EYE.match(path.name)
    if eye:
        return str(path.with_name(eye[1]))
    view = VIEW.match(path.name)
    return str(path.with_name(view[1] + view[2])) if view and view[1] + view[2] else name


def case_of(name: str) -> str:
    """The innermost numbered folder of a picture: "set/P01/t1" -> "set/P01"; else the name.

    One that is called by the folder above and more is a part of that: "video01/video01_00080/a" -> "video01".
    """
    parts = PurePosixPath(name).parts[:-1]
    for end in range(len(parts), 0, -1):
        tokens = set(words(parts[end - 1]))
        if any(token.isdigit() for token in tokens) and not tokens & (KIND_WORDS | SPLIT_WORDS.keys()):
            return "/".join(_whole(parts[:end]))
    return name


def _whole(folders: Sequence[str]) -> Sequence[str]:
    """Folders without the last ones that are called by the one above and more: video01, not video01/video01_00080."""
    end = len(folders)
    while end > 1 and folders[end - 1].startswith(f"{folders[end - 2]}_"):
        end -= 1
    return folders[:end]


def _box(stem: str) -> re.Match[str] | None:
    """The match of a name that ends in the corners of a box, each pair in the order of its axes or of its points."""
    found = BOX.match(stem)
    if found is None:
        return None
    a, b, c, d = (int(found[n]) for n in range(2, 6))
    return found if min(c - a, d - b) >= TILE_STEP or min(b - a, d - c) >= TILE_STEP else None


def subject_of(name: str) -> str:
    """The patient or case of a picture: "imgs/patient001_frame12_slice_0" -> "imgs/patient001"; else the name."""
    found = SUBJECT.search(name)
    return name[: found.end(1)] if found else name


def tiles(names: Iterable[str]) -> dict[str, str]:
    """{name: scene} of tiles: rows and columns of one scene that are multiples of one step."""
    found: dict[str, dict[str, tuple[int, int]]] = defaultdict(dict)
    told = {n: scene_of(n) for n in names if _tells_scene(PurePosixPath(n).name)}
    for name in names:
        if name not in told and (tile := TILE.match(PurePosixPath(name).name)):
            found[scene_of(name)][name] = (int(tile["row"]), int(tile["column"]))
    return told | {name: scene for scene, places in found.items() if _is_grid(places) for name in places}


def _tells_scene(stem: str) -> bool:
    return bool(BEHIND.match(stem) or GRID.match(stem) or _box(stem))


def _is_grid(places: Mapping[str, tuple[int, int]]) -> bool:
    rows, columns = ({place[axis] for place in places.values()} for axis in (0, 1))
    return min(len(rows), len(columns)) > 1 and gcd(*rows) == gcd(*columns) >= TILE_STEP


def _scattered(names: Iterable[str], said: Mapping[str, str]) -> frozenset[str]:
    """Sequences of frames whose numbers do not follow each other."""
    numbers: dict[str, list[int]] = defaultdict(list)
    for name in names:
        of = PurePosixPath(name).name
        frame = FRAME.match(of) or SHORT.match(of)
        if frame is not None and said[name] in (sequence_of(name), short_sequence_of(name)) and said[name] != name:
            numbers[said[name]].append(int(frame["number"]))
    return frozenset(key for key, found in numbers.items() if not _follow(found))


def _follow(numbers: Sequence[int]) -> bool:
    """Whether running numbers are those of a series: half of the steps are equal, or the usual step is short."""
    steps = np.diff(np.sort(np.array(numbers)))
    if len(steps) < 2:
        return True
    return bool(np.median(steps) <= SHORT_STEP or Counter(steps.tolist()).most_common(1)[0][1] >= len(steps) / 2)


def class_folders(items: Sequence[Item]) -> frozenset[str]:
    """Folders that each hold the pictures of one class or kind: sisters of one parent whose names have no number.

    Clips, places and days, which a split keeps together, are numbered; rust/ beside scratch/ is not, nor class1/.
    """
    folders = Counter(PurePosixPath(item.name).parent for item in items)
    sisters: dict[PurePosixPath, list[PurePosixPath]] = defaultdict(list)
    for folder in folders:
        sisters[folder.parent].append(folder)
    several = [sorted(group) for group in sisters.values() if len(group) > 1]
    return frozenset(
        str(folder)
        for group in several
        for folder in group
        if all(_is_kind(sister.name) and folders[sister] > 1 for sister in group)
    )


def _is_kind(name: str) -> bool:
    """Whether a folder's name may be that of a class: no number, and not the word for a clip, a split or pictures."""
    tokens = set(words(name))
    known = IMAGE_WORDS | LABEL_WORDS | set(SPLIT_WORDS) | SERIES_WORDS
    counted = any(token.isdigit() for token in tokens) and not tokens & KIND_WORDS
    return bool(tokens) and not counted and not tokens & known
