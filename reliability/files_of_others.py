"""Folders that are damaged, files that are hostile, inputs that are wrong, and a great many of them."""

import json
import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import tifffile

from reliability import lab
from reliability.lab import Check
from reliability.material import Bench, data_with, picture, png_that_claims

Damage = Callable[[bytes, random.Random], bytes | None]


def _flipped(content: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(max(len(content), 1))
    return content[:at] + bytes([content[at] ^ (1 << rng.randrange(8))]) + content[at + 1 :]


DAMAGES: dict[str, Damage] = {
    "cut short": lambda content, rng: content[: rng.randrange(max(len(content), 1))],
    "one bit turned": _flipped,
    "empty": lambda content, rng: b"",
    "missing": lambda content, rng: None,
    "of other content": lambda content, rng: rng.randbytes(200),
    "zeros": lambda content, rng: b"\0" * len(content),
}


def folders(bench: Bench) -> Iterator[Check]:
    """Every file of a model folder and of last/, damaged in every way: refused as exit 6 by name, or none the worse."""
    rng = random.Random(3)
    files = [
        p.relative_to(bench.run) for f in ("model", "last") for p in sorted((bench.run / f).iterdir()) if p.is_file()
    ]
    for repeat in range(bench.many(1, 3)):
        for file in files:
            for damage, change in DAMAGES.items():
                run = Path(shutil.copytree(bench.run, bench.fresh("damaged")))
                changed = change((run / file).read_bytes(), rng)
                (run / file).unlink() if changed is None else (run / file).write_bytes(changed)
                ended = lab.run(lambda run=run, part=file.parts[0]: _read(run, part))
                yield Check(f"{file}, {damage} ({repeat + 1})", ended.code in (0, 6) and ended.in_words, str(ended))


def _read(run: Path, part: str) -> int:
    """Read a part of a run as a resume or a prediction would; returns the exit code."""
    from denselab.engine.folder import load_engine
    from denselab.errors import DenseLabError
    from denselab.folders import read_newest_folder

    try:
        if part == "model":
            load_engine(run, "cpu")
        else:
            read_newest_folder(run / part)
    except DenseLabError as error:
        return error.exit_code
    return 0


def inputs(bench: Bench) -> Iterator[Check]:
    """One bad file among good ones: `check` says it with exit 3, `predict` skips it with exit 4, within seconds."""
    bad: dict[str, Callable[[Path], object]] = {
        "empty": lambda path: path.write_bytes(b""),
        "text": lambda path: path.write_text("hello"),
        "cut short": lambda path: path.write_bytes(picture(path).read_bytes()[:300]),
        "header bomb": lambda path: path.write_bytes(png_that_claims(60_000, 60_000)),
        "19,000 x 19,000 in 1 MB": lambda path: path.write_bytes(png_that_claims(19_000, 19_000, pixels=True)),
        "pipe": os.mkfifo,
        "link to itself": lambda path: path.symlink_to(path.name),
        "lost link": lambda path: path.symlink_to("nowhere.png"),
        "device": lambda path: path.symlink_to("/dev/zero"),
        "folder": lambda path: path.mkdir(),
    }
    for name, make in bad.items():
        data = data_with(bench, "bad")
        path = sorted((data / "images" / "train").iterdir())[0]
        path.unlink()
        make(path)
        ended = lab.run(["check", data, "--out", bench.fresh("sheet")], seconds=30)
        heavy = ended.peak > 1000 + lab.own_peak()
        yield Check(
            f"check, {name}: said",
            ended.code in (0, 3) and ended.in_words and path.stem in ended.out + ended.err,
            str(ended),
        )
        yield Check(f"check, {name}: below 1 GB more", not heavy, str(ended))
        if name.startswith("19,000"):
            continue
        ended = lab.run(["predict", bench.run, data / "images", "--out", bench.fresh("p")], seconds=30)
        yield Check(f"predict, {name}", ended.code in (0, 4) and ended.in_words, str(ended))


def attacks(bench: Bench) -> Iterator[Check]:
    """Files made to harm: bombs, names that lead out of a folder, code, names that act on a terminal or a table."""
    bomb = "a0: &a0 [1, 1]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 20))
    documents = {
        "alias bomb": bomb,
        "depth": "[" * 100_000,
        "double key": "lr: 1\nlr: 2\n",
        "huge number": f"lr: {'9' * 5000}\n",
        "code": "lr: !!python/object/apply:os.system ['touch HARM']\n",
    }
    for name, text in documents.items():
        config = bench.root / "config.yaml"
        config.write_text(text)
        ended = lab.run(["train", bench.data, "--out", bench.fresh("a"), "--config", config], seconds=20)
        yield Check(f"config.yaml, {name}", ended.code == 2 and ended.in_words, str(ended))
        data = data_with(bench, "attacked")
        (data / "data.yaml").write_text(text)
        ended = lab.run(["check", data, "--out", bench.fresh("sheet")], seconds=20)
        yield Check(f"data.yaml, {name}", ended.code == 3 and ended.in_words, str(ended))
    for target in ("../secret", "/etc/passwd", "/dev/zero", "..", "a/b"):
        folder = Path(shutil.copytree(bench.run / "model", bench.fresh("m")))
        (folder / "manifest.json").write_text(json.dumps({target: {"bytes": 1, "sha256": "0" * 64}}))
        ended = lab.run(["predict", folder, bench.data / "images", "--out", bench.fresh("o")], seconds=20)
        yield Check(f"manifest names {target}", ended.code == 6 and ended.in_words, str(ended))
    yield from _records(bench)
    yield from _places(bench)
    yield from _names(bench)


def _records(bench: Bench) -> Iterator[Check]:
    """What others put among the records of a folder of predictions: passed over."""
    out = bench.fresh("recorded")
    words = ["predict", bench.run, bench.data / "images" / "val", "--out", out, "--manifest", bench.root / "m.csv"]
    lab.run(words)
    odd = out / "records" / "z.jsonl"
    makes: dict[str, Callable[[], object]] = {
        "depth": lambda: odd.write_text("[" * 100_000),
        "shares in words": lambda: odd.write_text('{"file": "a.png", "shares": "all"}'),
        "pipe": lambda: os.mkfifo(odd),
        "folder": odd.mkdir,
    }
    for name, make in makes.items():
        odd.unlink(missing_ok=True)
        make()
        ended = lab.run(words, seconds=20)
        yield Check(f"predict, a record: {name}", ended.code == 0 and ended.in_words, str(ended))


def _places(bench: Bench) -> Iterator[Check]:
    """GeoTIFF tags that tell no place: the picture is predicted without one."""
    scale, corner, keys = (33550, "d", 3, (1.0, 1.0, 0.0)), (33922, "d", 6, (0.0,) * 6), (34735, "H", 1, 1)
    tags: dict[str, tuple[tuple[object, ...], ...]] = {
        "one number for a scale": ((33550, "d", 1, 1.0), corner),
        "a corner in words": (scale, (33922, "s", 0, "here")),
        "one key": (scale, corner, keys),
        "numbers for words": (scale, corner, (34737, "H", 2, (1, 2))),
        "letters beyond ASCII": (scale, corner, (34737, "s", 0, "é|".encode())),
    }
    for name, own in tags.items():
        tiff, extra = bench.root / "placed.tif", [(*tag, True) for tag in own]
        tifffile.imwrite(tiff, np.zeros((48, 64, 3), np.uint8), photometric="rgb", extratags=extra)
        ended = lab.run(["predict", bench.run, tiff, "--out", bench.fresh("o")], seconds=20)
        yield Check(f"predict, GeoTIFF with {name}", ended.code == 0 and ended.in_words, str(ended))


def _names(bench: Bench) -> Iterator[Check]:
    names = {
        "newline": "a\nERROR all is lost",
        "terminal": "a\x1b[2J\x1b[31m",
        "markup": "a[bold]:car:",
        "bytes": "caf\udce9",
    }
    for kind, stem in names.items():
        data = data_with(bench, "named")
        (data / "images" / "train" / f"{stem}.png").write_bytes(b"")
        (data / "labels" / "train" / f"{stem}.png").write_bytes(b"")
        ended = lab.run(["check", data, "--out", bench.fresh("sheet")], seconds=20)
        text = ended.out + ended.err
        acts = "\x1b[2J" in text or any(line.startswith("ERROR all is lost") for line in text.splitlines())
        whole = kind != "markup" or ":car:" in text
        yield Check(f"a file name with {kind}", ended.code == 3 and ended.in_words and not acts and whole, str(ended))
    harm = list(bench.root.rglob("HARM"))
    yield Check("no code in a file was run", not harm, str(harm))


def load(bench: Bench) -> Iterator[Check]:
    """Many pictures, and a large one: in order, complete, and within memory."""
    folder, count = bench.fresh("many"), bench.many(300, 5000)
    for number in range(count):
        picture(folder / f"{number // 100:03d}" / f"{number:05d}.png", 24, 32, number)
    ended = lab.run(["predict", bench.run, folder, "--out", bench.fresh("many-out")], seconds=600)
    made = len(list((bench.root / "many-out" / "labels").rglob("*.png")))
    yield Check(f"predict {count} pictures", ended.code == 0 and made == count, f"{made} label maps; {ended}")
    side = bench.many(4000, 12_000)
    large = picture(bench.root / "large" / "a.png", side, side)
    yield _large(bench, large, side)
    tiff = bench.root / "large" / "a.tif"
    tifffile.imwrite(tiff, np.zeros((side, side, 3), np.uint8), photometric="rgb", compression="zlib")
    yield _large(bench, tiff, side)
    yield _large(bench, large, side, "--window", "512")


def _large(bench: Bench, large: Path, side: int, *options: str) -> Check:
    """Whether a large picture is predicted within 12 bytes a pixel, for decoding, enlarging and drawing, and 700 MB."""
    ended = lab.run(["predict", bench.run, large, "--out", bench.fresh("large-out"), *options], seconds=600)
    room = 12 * side * side / 2**20 + 700
    name = f"predict {large.name} of {side}x{side} {' '.join(options)}: within {room:.0f} MB more"
    return Check(name, ended.code == 0 and ended.peak < room + lab.own_peak(), str(ended))
