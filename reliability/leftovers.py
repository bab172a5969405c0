"""Ends that leave something behind: what dead processes wrote, a broken installation, a disk that fails once."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from reliability import lab
from reliability.faulty import fail_writes
from reliability.lab import Check
from reliability.material import Bench, training

DEAD = 2**22 + 1  # above the largest process id of Linux


def leftovers(bench: Bench) -> Iterator[Check]:
    """What was left unfinished is swept; what failed can be tried again; a remedy is one that the command has."""
    yield from _swept(bench)
    yield from _again(bench)
    yield from _remedies(bench)
    yield from _broken_installation(bench)
    run = Path(shutil.copytree(bench.run, bench.fresh("headless")))
    (run / "model" / "config.json").unlink()
    ended = lab.run(["eval", run, bench.data, "--out", bench.fresh("e")])
    yield Check("eval, model/config.json is missing: named", ended.code == 6 and "config.json" in ended.err, str(ended))


def _swept(bench: Bench) -> Iterator[Check]:
    from denselab.files import HOST

    names = (f".{DEAD}-{HOST}-0123abcd.part", f".{DEAD}.part")
    out = bench.fresh("swept")
    for folder in ("labels", "overlays"):
        (out / folder / "train").mkdir(parents=True)
        for name in names:
            (out / folder / "train" / name).write_bytes(b"half")
    ended = lab.run(["predict", bench.run, bench.data / "images", "--out", out])
    left = [path.name for path in out.rglob("*.part")]
    yield Check("predict: what a dead process left is swept", ended.code == 0 and not left, f"{left}; {ended}")
    run = bench.fresh("begun")
    run.mkdir()
    (run / f"config.yaml.writing-{DEAD}").write_text("half")
    (run / f"last.writing-{DEAD}").mkdir()
    ended = lab.run(["train", bench.data, "--out", run, *training(1, 1)])
    left = [path.name for path in run.iterdir() if ".writing-" in path.name]
    yield Check("train: killed while it began, begun again", ended.code == 0 and not left, f"{left}; {ended}")


def _again(bench: Bench) -> Iterator[Check]:
    for kind in ("full", "io"):
        for after in range(bench.many(4, 12)):
            run = bench.fresh("again")
            words = ["train", bench.data, "--out", run, *training(1, 1)]
            failed = lab.run(words, before=fail_writes(run, kind, after))
            done = lab.run([*words, "--resume"] if (run / "last").exists() else words)
            held = failed.code in (0, 5) and (done.code == 0 or (failed.code == 0 and done.code == 2))
            yield Check(f"train, {kind} from change {after} on, and again", held, f"{failed}; then {done}")


def _remedies(bench: Bench) -> Iterator[Check]:
    weights = bench.run / "model" / "model.safetensors"
    image = sorted((bench.data / "images" / "val").iterdir())[0]
    for after in (3, 9):
        out = bench.fresh("steps")
        words = ["predict", bench.run, image, "--out", out, "--crf", "--steps"]
        ended = lab.run(words, before=fail_writes(out, "full", after))
        yield Check(f"predict --steps, full from change {after} on", ended.code == 5 and ended.in_words, str(ended))
    out = bench.fresh("converted")
    out.mkdir()
    words = ["convert", weights, "--from", "torch", "--model", "pixelwise", "--out", out / "m"]
    ended = lab.run(words, before=fail_writes(out, "full", 0))
    held = ended.code == 5 and ended.in_words and "--resume" not in ended.err
    yield Check("convert on a full disk: no remedy that it does not have", held, str(ended))


def _broken_installation(bench: Bench) -> Iterator[Check]:
    """Each command says in one line what is missing, or does without it."""
    code = "import sys; sys.modules['tifffile'] = None; from denselab.cli.main import main; main()"
    plain = {**os.environ, "NO_COLOR": "1"}
    train = ["train", str(bench.data), "--out", str(bench.fresh("b")), *training(1, 1)]
    for name, words in (("models", ["models"]), ("train", train)):
        command = [sys.executable, "-c", code, *words]
        ended = subprocess.run(command, capture_output=True, text=True, check=False, env=plain)
        named = any("tifffile" in line and "install" in line for line in ended.stderr.splitlines())
        held = "Traceback" not in ended.stderr and (ended.returncode == 0 or named)
        yield Check(f"{name} in an installation without tifffile", held, ended.stderr[-300:])
