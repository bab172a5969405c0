"""What is compared, as one frozen value that is stored in the comparison's folder and holds when it is resumed.

OUT/
  plan.json          what is compared         folds.csv     the fold of each picture, where there are folds
  runs/MEMBER/       a run folder for each model, fold and seed; MEMBER.failed.json says why one could not be trained
  measured/MEMBER/   what was counted, by way; the label maps; what a picture costs
  report.html        the answer               comparison.json  the same for programs
  table.md table.tex table.csv                the table for a paper
"""

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from denselab.build import find_entry
from denselab.comparison.ways import ALL_WAYS
from denselab.config import Settings, make_settings
from denselab.config.settings import LENGTHS
from denselab.errors import CheckpointError, ConfigError
from denselab.files import unpack_json, write_json
from denselab.migration import migrated, stamped
from denselab.numbers import listed, whole

PLAN, RUNS, MEASURED, FAILED = "plan.json", "runs", "measured", ".failed.json"
FORMAT = 1
DEFAULT_MODELS = ("deeplabv3plus", "unet", "segnet", "fcn8s")  # one of each family
DEFAULT_BUDGET = ("time", 600.0)  # seconds for each run
MOST_FOLDS = 1000  # each of them is a run of every network
DURATIONS = frozenset({"save_every"})  # keys whose words need a unit
OWN_KEYS = frozenset({"data", "model", "encoder", "seed", "device", "stages", *LENGTHS})  # of the comparison itself

Split = Literal["val", "test"]


@dataclass(frozen=True)
class Candidate:
    """A network to train. encoder: None takes the network's own."""

    model: str
    encoder: str | None = None

    @property
    def name(self) -> str:
        """As it is written on the command line: "unet" or "unet:resnet34"."""
        return f"{self.model}:{self.encoder}" if self.encoder else self.model


@dataclass(frozen=True)
class Member:
    """One run of the comparison. fold: from 0; None without folds."""

    candidate: Candidate
    seed: int
    fold: int | None = None

    @property
    def key(self) -> str:
        """The name of its folder."""
        fold = "" if self.fold is None else f"-fold{self.fold + 1}"
        return f"{file_stem(self.candidate.name)}{fold}-seed{self.seed}"


def file_stem(name: str) -> str:
    """The name of a model as a part of a file's name."""
    return name.replace(":", "-").replace("/", "-")


@dataclass(frozen=True)
class Plan:
    """What is compared. Raises ConfigError for what cannot be compared.

    data: as it was given.
    candidates: the networks to train.
    budget: (key, number) of each run: seconds of "time", "epochs" or "steps".
    seeds: of the runs; the first also draws a split that the data lack, and the folds.
    folds: how many; 0: the data's own split.
    split: the pictures that are measured; with folds always "val", each fold in its turn.
    ways: names of ALL_WAYS, "plain" among them.
    imgsz: (height, width) that all are trained at; None: chosen once for all.
    given: further settings that all runs share.
    existing: folders of models that were trained before and take part.
    """

    data: str
    candidates: tuple[Candidate, ...]
    budget: tuple[str, float]
    seeds: tuple[int, ...] = (0,)
    folds: int = 0
    split: Split = "val"
    ways: tuple[str, ...] = ALL_WAYS
    imgsz: tuple[int, int] | None = None
    given: Mapping[str, Any] = field(default_factory=dict)
    existing: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, called in (("seeds", "seeds"), ("ways", "ways"), ("existing", "with_")):
            object.__setattr__(self, name, listed(getattr(self, name), f"`{called}`"))
        if len(self.candidates) + len(self.existing) < 2:
            raise ConfigError(
                "`models`: a comparison needs two models at least; name more, or add trained ones `with_`"
            )
        object.__setattr__(self, "seeds", tuple(whole(seed, "`seeds`", 0) for seed in self.seeds))
        object.__setattr__(self, "folds", whole(self.folds, "`folds`"))
        for values, what in ((self.candidates, "models"), (self.seeds, "seeds"), (self.existing, "with_")):
            if len(set(values)) < len(values):
                raise ConfigError(f"`{what}`: one of them is given twice; leave one out")
        object.__setattr__(self, "budget", _checked_budget(self.budget))
        if not isinstance(self.given, Mapping):
            raise ConfigError(f"`settings` is {self.given!r}; expected keys and values, such as {{'lr': 0.001}}")
        if self.split not in get_args(Split):
            raise ConfigError(f"`split` {self.split!r}; use {' or '.join(get_args(Split))}")
        if not self.seeds:
            raise ConfigError("`seeds`: none was given; 0 is usual")
        if self.folds == 1 or not 0 <= self.folds <= MOST_FOLDS:
            raise ConfigError(f"`folds` {self.folds}; use 2 to {MOST_FOLDS}, 5 is usual, or 0 for the data's own split")
        if self.folds and self.split != "val":
            raise ConfigError("`split` test with `folds`: folds hold out each picture once; leave one of the two out")
        if "plain" not in self.ways or not set(self.ways) <= set(ALL_WAYS):
            others = ", ".join(way for way in ALL_WAYS if way != "plain")
            raise ConfigError(f"`ways` {', '.join(map(str, self.ways))}; plain, and of {others}")

    def members(self) -> list[Member]:
        """Every run, in the order in which they are trained: all models of one fold and seed, then the next."""
        folds: list[int | None] = list(range(self.folds)) if self.folds else [None]
        return [Member(c, seed, fold) for seed in self.seeds for fold in folds for c in self.candidates]

    def settings(self, member: Member, device: str = "auto") -> Settings:
        """The settings of one run. Raises ConfigError."""
        key, number = self.budget
        own = {"data": self.data, "model": member.candidate.model, "seed": member.seed, "device": device}
        own |= {"encoder": member.candidate.encoder, "imgsz": self.imgsz, key: number}
        return make_settings({**self.given, **own})

    def words(self) -> list[str]:
        """The further settings as KEY=VALUE words of a command line."""
        return [f"{key}={seconds(value) if key in DURATIONS else _word(value)}" for key, value in self.given.items()]

    def command(self, out: str = "compare/again") -> str:
        """The command line that repeats the comparison."""
        key, number = self.budget
        words = ["denselab", "compare", self.data, *self.words()]
        words += ["--models", ",".join(c.name for c in self.candidates)]  # of none '', since without it there are some
        words += ["--budget", key, seconds(number) if key == "time" else f"{number:.0f}"]
        for run in self.existing:
            words += ["--with", run]
        words += ["--folds", str(self.folds)] if self.folds else []
        words += ["--seeds", ",".join(map(str, self.seeds))] if self.seeds != (0,) else []
        words += ["--split", self.split] if self.split != "val" else []
        words += ["--ways", ",".join(self.ways)] if self.ways != ALL_WAYS else []
        words += ["--imgsz", f"{self.imgsz[0]}x{self.imgsz[1]}"] if self.imgsz else []
        return shlex.join([*words, "--out", out])


def _checked_budget(budget: Any) -> tuple[str, float]:
    """(key, number) of what a caller gave, whose time may be in words: ("time", "10m"). Raises ConfigError."""
    if isinstance(budget, str) or not isinstance(budget, Sequence) or len(budget) != 2:
        raise ConfigError(f"`budget` is {budget!r}; expected what is limited and how far, such as ('time', 600)")
    key, number = budget
    if key not in LENGTHS:
        raise ConfigError(f"`budget` {key!r}; use {', '.join(LENGTHS)}")
    length: float | None = getattr(make_settings({key: number}, "`budget`"), key)
    if length is None:
        raise ConfigError(f"`budget` {key} is {number!r}; expected a number")
    return key, length


def seconds(number: float) -> str:
    """As it is written on the command line, which takes no exponent: "90s"."""
    return f"{number:.6f}".rstrip("0").rstrip(".") + "s"


def _word(value: Any) -> str:
    if value is None or isinstance(value, list | tuple | dict):
        return json.dumps(value)
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def candidates_of(models: str | Sequence[str] | None) -> tuple[Candidate, ...]:
    """The networks of "fcn8s,unet:resnet34", or of a list of such words; None: DEFAULT_MODELS.

    Raises ConfigError with near names for one that does not exist.
    """
    names = DEFAULT_MODELS if models is None else (models,) if isinstance(models, str) else listed(models, "`models`")
    text = ",".join(map(str, names))
    found = []
    for word in filter(None, (part.strip() for part in text.split(","))):
        model, _, encoder = word.partition(":")
        find_entry(model)
        found.append(Candidate(model, encoder or None))
    return tuple(found)


def size_of(imgsz: str | int | tuple[int, int] | None) -> tuple[int, int] | None:
    """(height, width) of "180x240", 256 or a pair. Raises ConfigError."""
    size = make_settings({"imgsz": imgsz}, "options").imgsz
    return (size[0], size[1]) if size else None


def write_plan(out: Path, plan: Plan) -> None:
    """Store the plan in the comparison's folder. Raises ResourceError."""
    write_json(out / PLAN, stamped(asdict(plan), FORMAT))


def read_plan(out: Path) -> Plan:
    """The plan of a comparison's folder. Raises ConfigError where there is none, CheckpointError for a damaged one."""
    path = out / PLAN
    if not path.is_file():
        raise ConfigError(f"{out} holds no comparison (no {PLAN}); start one without `resume`")
    stored = migrated(unpack_json(path.read_bytes(), str(path)), {0: dict}, str(path))
    try:
        candidates = tuple(Candidate(**row) for row in stored["candidates"])
        key, number = stored["budget"]
        return Plan(
            stored["data"],
            candidates,
            (key, number),
            tuple(stored["seeds"]),
            stored["folds"],
            stored["split"],
            tuple(stored["ways"]),
            tuple(stored["imgsz"]) if stored["imgsz"] else None,
            stored["given"],
            tuple(stored["existing"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} is not the plan of a comparison: {error!r}") from None
