"""The machine's faults: a disk that is full, broken or read-only, too little memory, no network, workers that die."""

import os
import shutil
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

from reliability import lab
from reliability.faulty import KINDS, fail_writes
from reliability.lab import Check
from reliability.material import Bench, picture, training

MB = 2**20
SHORT = ("--imgsz", "32x48", "--batch", "4", "--device", "cpu", "--workers", "0", "--epochs", "1", "validations=1")
TIMM = ("--model", "deeplabv3plus", "--encoder", "resnet18")  # whose weights no package brings


def disk(bench: Bench) -> Iterator[Check]:
    """The n-th change below the output folder and all later ones fail: exit 5 in words, and what was there is whole."""
    commands = {
        "train": lambda out: ["train", bench.data, "--out", out / "run", *training()],
        "predict": lambda out: ["predict", bench.run, bench.data / "images", "--out", out / "p", "--probs", "npz"],
        "eval": lambda out: ["eval", bench.run, bench.data, "--out", out / "e"],
    }
    for command, words in commands.items():
        for kind in KINDS:
            for after in (0, 2, 7, *((1, 3, 5, 12, 20, 33) if bench.long else ())):
                out = bench.fresh("disk")
                out.mkdir()
                ended = lab.run(words(out), before=fail_writes(out, kind, after))
                said = ended.code == 5 and ended.in_words
                name = f"{command}, {kind} from change {after} on"
                yield Check(name, said or ended.code == 0, str(ended))
                damage = lab.run(lambda out=out: _damaged(out))
                yield Check(f"{name}: no half file", damage.code == 0, damage.out + damage.err[-300:])
    yield from _resumed_after_full(bench)


def _damaged(out: Path) -> int:
    """How many of our files under a folder are cut short; prints them."""
    import numpy as np
    from PIL import Image

    from denselab.folders import read_folder

    bad = list[str]()
    for path in (p for p in out.rglob("*") if p.is_file() and not p.name.startswith(".")):
        try:
            if path.name == "manifest.json" and not path.parent.name.startswith("."):
                read_folder(path.parent)
            elif path.suffix in (".png", ".jpg"):
                Image.open(path).load()
            elif path.suffix == ".npz":
                dict(np.load(path))
        except Exception as error:
            bad.append(f"{path}: {error}")
    print(bad)
    return len(bad)


def _resumed_after_full(bench: Bench) -> Iterator[Check]:
    run = bench.fresh("full")
    run.mkdir()
    ended = lab.run(["train", bench.data, "--out", run, *training()], before=fail_writes(run, "full", 30))
    yield Check("train on a disk that fills up", ended.code == 5 and ended.in_words, str(ended))
    words = ["train", bench.data, "--out", run, *training()]
    again = lab.run([*words, "--resume"] if (run / "last").exists() else words)
    yield Check("the same with space again", again.code == 0, str(again))


def memory(bench: Bench) -> Iterator[Check]:
    """Little address space left: a smaller way, or exit 5 in words; a large picture never stops a small one."""
    side, seconds = bench.many(3000, 7000), bench.many(240, 1800)
    large, small = picture(bench.root / "memory" / "a.png", side, side), picture(bench.root / "memory" / "b.png")
    for room in (600 * MB, 1200 * MB, 2400 * MB):
        for options in ((), ("--window", "2048"), ("--probs", "npz"), ("--crf",), ("--tta",)):
            out = bench.fresh("m")
            ended = lab.run(["predict", bench.run, large, small, "--out", out, *options], room=room, seconds=seconds)
            name = f"predict {' '.join(options) or 'plain'}, {side}x{side} and a small one, {room // MB} MB"
            yield Check(f"{name}: in words", ended.code in (0, 3, 4, 5) and ended.in_words, str(ended))
            yield Check(f"{name}: the small one", (out / "labels" / "b.png").exists(), str(ended))
    for room in (300 * MB, 900 * MB):
        words = ["train", bench.data, "--out", bench.fresh("m"), *training(1, 1, "unet_small", "1200x1600")]
        ended = lab.run(words, room=room, seconds=seconds)
        yield Check(f"train 1200x1600 within {room // MB} MB", ended.code in (0, 2, 5) and ended.in_words, str(ended))


def network(bench: Bench) -> Iterator[Check]:
    """No command looks up a name of its own accord; where one may, it says so first and asks once."""
    data, pictures = bench.data, bench.data / "images"
    image = sorted((pictures / "val").iterdir())[0]
    commands: dict[str, list[object]] = {
        "check": ["check", data, "--out", bench.fresh("n0")],
        "train, the default network": ["train", data, "--out", bench.fresh("n1"), *SHORT],
        "train --pretrained no": ["train", data, "--out", bench.fresh("n2"), *SHORT, *TIMM, "--pretrained", "no"],
        "train --resume": ["train", data, "--out", shutil.copytree(bench.run, bench.fresh("n3")), "--resume"],
        "eval": ["eval", bench.run, data, "--out", bench.fresh("n4")],
        "predict": ["predict", bench.run, pictures, "--out", bench.fresh("n5")],
        "explain": ["explain", bench.run, image, "--out", bench.fresh("n6")],
        "models": ["models"],
        "info": ["info", "deeplabv3plus"],
        "doctor": ["doctor"],
        "a model that is not there": ["predict", bench.root / "nowhere", pictures, "--out", bench.fresh("n7")],
    }
    for name, words in commands.items():
        ended = lab.run(words, before=_no_network)
        yield Check(f"{name}: no name is looked up", "LOOKED UP" not in ended.err, ended.err[-300:])
    ended = lab.run(["train", data, "--out", bench.fresh("n8"), *SHORT, *TIMM], before=_no_network)
    before, asked, after = ended.err.partition("asking the hub")
    said = "LOOKED UP" not in before and "LOOKED UP" in after and "asking the hub" not in after
    yield Check("train --pretrained auto: said first, asked once", said and ended.code == 0, f"{asked}; {ended}")


def _no_network() -> None:
    """Name every look-up on stderr and let it fail, as without a network. The hub is allowed to be asked."""
    import huggingface_hub.constants

    def refuse(*arguments: object, **named: object) -> None:
        os.write(2, f"LOOKED UP {arguments}\n".encode())
        raise socket.gaierror(-3, "Temporary failure in name resolution")

    os.environ.pop("HF_HUB_OFFLINE", None)
    huggingface_hub.constants.HF_HUB_OFFLINE = False
    socket.getaddrinfo = refuse  # type: ignore[assignment]
    socket.socket.connect = refuse  # type: ignore[assignment, method-assign]


def workers(bench: Bench) -> Iterator[Check]:
    """A thread that prepares pictures fails, or the whole process group gets a signal: an end in words."""
    for kind, error in (("DataError", _broken_reading), ("MemoryError", _no_memory_reading)):
        ended = lab.run(["train", bench.data, "--out", bench.fresh("w"), *training()], before=error)
        yield Check(f"a worker's {kind}", ended.code in (3, 5) and ended.in_words, str(ended))
    for number in range(bench.many(2, 10)):
        run = bench.fresh("w")
        moment = 0.05 + 0.1 * number
        ended = lab.run(["train", bench.data, "--out", run, *training()], stop=(moment, signal.SIGTERM))
        yield Check(f"SIGTERM after {moment:.2f} s", ended.code in (0, 143, -signal.SIGTERM), str(ended))


def _break_reading(error: Callable[[object], BaseException]) -> None:
    from denselab.data import dataset

    plain, count = dataset.read_image, [0]

    def reading(path: Path, *rest: object) -> object:
        count[0] += 1
        if count[0] > 40:
            raise error(path)
        return plain(path, *rest)  # type: ignore[arg-type]

    dataset.read_image = reading  # type: ignore[assignment]


def _broken_reading() -> None:
    from denselab.errors import DataError

    _break_reading(lambda path: DataError(f"{path}: cannot be read any more; copy it again"))


def _no_memory_reading() -> None:
    _break_reading(lambda path: MemoryError())
