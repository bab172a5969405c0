"""Training: killed, stopped, resumed, written by two, deleted, diverged."""

import json
import os
import random
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from reliability import lab
from reliability.lab import Check
from reliability.material import Bench, training


def kills(bench: Bench) -> Iterator[Check]:
    """Killed at a random moment: the run goes on, or begins again, and ends with the same bytes, leaving nothing."""
    rng = random.Random(1)
    whole = lab.run(["train", bench.data, "--out", bench.fresh("kill"), *training()]).used
    for number in range(bench.many(8, 200)):
        run = bench.fresh("kill")
        moment = rng.uniform(0.2, whole)
        lab.run(["train", bench.data, "--out", run, *training()], stop=(moment, signal.SIGKILL))
        yield _ends_alike(bench, run, f"kill {number} after {moment:.2f} s")


def stops(bench: Bench) -> Iterator[Check]:
    """SIGTERM and Ctrl-C at a random moment: exit 143 or 130 after saving; the resumed run ends with the same bytes."""
    rng = random.Random(2)
    for number in range(bench.many(4, 20)):
        run, sent = bench.fresh("stop"), (signal.SIGTERM, signal.SIGINT)[number % 2]
        moment = rng.uniform(0.8, 2.0)
        ended = lab.run(["train", bench.data, "--out", run, *training()], stop=(moment, sent))
        yield Check(f"stop {number}: exit code", ended.code in (0, 128 + sent), str(ended))
        yield _ends_alike(bench, run, f"stop {number} after {moment:.2f} s")


def _ends_alike(bench: Bench, run: Path, name: str) -> Check:
    """Whether a broken run, continued or begun again, ends as the unbroken one did."""
    command = ["train", bench.data, "--out", run, *training()]
    going_on = (run / "last").exists() or (run / "last.previous").exists()
    done = lab.run([*command, "--resume"] if going_on else command)
    if done.code != 0:
        return Check(name, False, str(done))
    other = [f for f in ("last", "model") if not _equal(bench.run / f, run / f)]
    left = [p.name for p in run.rglob("*") if p.name.endswith((".part", ".lock")) or ".writing-" in p.name]
    return Check(name, not other and not left, f"differs: {other}, left behind: {left}")


def _equal(a: Path, b: Path) -> bool:
    """Whether two folders hold the same tensors, byte for byte."""
    names = {p.name for p in (*a.glob("*.safetensors"), *b.glob("*.safetensors"))}
    return bool(names) and all((a / n).read_bytes() == (b / n).read_bytes() for n in names)


def writers(bench: Bench) -> Iterator[Check]:
    """Two processes for one folder, and folders that vanish."""
    run = Path(shutil.copytree(bench.run, bench.fresh("two")))
    going_on = ["train", bench.data, "--out", run, "--resume", "--epochs", "400"]
    first = lab.start(going_on)
    _wait_for(run / ".lock")
    second = lab.run(going_on)
    yield Check(
        "a second --resume is refused in words", second.code == 5 and "being written by" in second.err, str(second)
    )
    os.kill(first, signal.SIGKILL)
    os.waitpid(first, 0)
    third = lab.run(["train", bench.data, "--out", run, "--resume", "--epochs", "7"])
    yield Check("the lock of a killed run stops nobody", third.code == 0, str(third))
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    steps = [line["step"] for line in lines if line["kind"] == "validation"]
    yield Check("metrics.jsonl is that of one run", steps == sorted(set(steps)), str(steps))
    for number in range(bench.many(2, 8)):
        yield _deleted(bench, 0.9 + 0.4 * number)
    out = bench.fresh("emptied")
    deleted = {"done": False}

    def empty(_: int) -> None:
        if not deleted["done"] and len(list(out.glob("labels/**/*.png"))) >= 3:
            shutil.rmtree(out, ignore_errors=True)
            deleted["done"] = True

    ended = lab.run(["predict", bench.run, bench.data / "images", "--out", out], while_running=empty)
    # Removed between two results, or within the writing of one.
    said = ended.code == 5 and ("no longer in" in ended.err or "No such file or directory" in ended.err)
    complete = ended.code == 0 and len(list(out.glob("labels/**/*.png"))) == 16
    yield Check("predict: output emptied while it runs", said or complete or not deleted["done"], str(ended))


def _deleted(bench: Bench, moment: float) -> Check:
    run = bench.fresh("deleted")

    def delete(pid: int) -> None:
        if lab.processor_seconds(pid) > moment:
            shutil.rmtree(run, ignore_errors=True)

    ended = lab.run(["train", bench.data, "--out", run, *training(epochs=400)], while_running=delete)
    return Check(f"run folder deleted after {moment:.1f} s", ended.code == 5 and ended.in_words, str(ended))


def _wait_for(path: Path, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not path.exists() and time.monotonic() < end:
        time.sleep(0.02)


def divergence(bench: Bench) -> Iterator[Check]:
    """Learning rates that no training survives: nothing broken is kept, what is said is so, JSON stays JSON."""
    for optimizer in ("sgd", "adamw"):
        for ema in ("0", "0.9"):
            run = bench.fresh("diverged")
            more = ("lr=1e12", f"optimizer={optimizer}", f"ema={ema}", "clip_norm=0")
            ended = lab.run(["train", bench.data, "--out", run, *training(epochs=30, validations=90), *more])
            name = f"lr 1e12, {optimizer}, ema {ema}"
            yield Check(f"{name}: exit code and words", ended.code in (0, 2) and ended.in_words, str(ended))
            broken = lab.run(lambda run=run: _broken_tensors(run))
            yield Check(f"{name}: nothing kept is NaN or infinite", broken.code == 0, broken.out)
            yield Check(f"{name}: every line is JSON", _is_json(run / "metrics.jsonl"))


def _broken_tensors(run: Path) -> int:
    from denselab.tensors import not_finite, unpack_tensors

    found = [p for p in run.rglob("*.safetensors") if not_finite(unpack_tensors(p.read_bytes(), str(p)))]
    print(found)
    return len(found)


def _is_json(path: Path) -> bool:
    def refuse(word: str) -> None:
        raise ValueError(word)

    try:
        for line in path.read_text().splitlines():
            json.loads(line, parse_constant=refuse)
    except (ValueError, OSError):
        return False
    return True
