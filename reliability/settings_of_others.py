"""Settings, label tables, model configs and states that are hostile or senseless: refused in words before use."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from reliability import lab
from reliability.lab import Check
from reliability.material import Bench, training

ALIASES = "a0: &a0 [1, 1]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 20))
MERGES = "a0: &a0 {x: 1}\n" + "".join(f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 9)}]}}\n" for i in range(1, 20))
DOCUMENTS = {
    "alias bomb": ALIASES,
    "merge bomb": MERGES,
    "depth": "[" * 5000,
    "double key": "lr: 1\nlr: 2\n",
    "number of 5,000 digits": f"seed: {'9' * 5000}\n",
    "number beyond 64 bits": f"seed: {2**70}\n",
    "a date as key": "2024-01-01: 1\n",
    "code": "lr: !!python/object/apply:os.system ['touch HARM']\n",
}
TABLES = {
    "a.yaml": f"labels: *x\n{ALIASES}",
    "b.yaml": "labels: " + "[" * 5000,
    "c.json": "[" * 100_000,
    "d.json": f'[{{"id": {"9" * 5000}, "name": "a"}}]',
    "e.json": json.dumps([f"name {i}" for i in range(1_000_000)]),
}
CONFIGS: dict[str, Any] = {
    "architecture.num_classes": 10**9,
    "architecture.in_channels": 10**8,
    "architecture.encoder": {"a": 1},
    "preprocessing.imgsz": [0, 0],
    "preprocessing.mean": [0.5, 0.5],
    "preprocessing.std": [0.0, 0.0, 0.0],
    "preprocessing.pad_to": [10**6, 10**6],
    "labels": [{"id": 0, "name": "one"}],
    "crf": {"iterations": 10**9},
}
STATES: dict[str, Any] = {"splits": 0, "step": -1, "best_miou": [1], "seconds": float("nan"), "metrics_bytes": "many"}


def settings(bench: Bench) -> Iterator[Check]:
    """Each is refused with the exit code of its kind: 2 settings, 3 data, 6 model files."""
    yield from _configs(bench)
    yield from _tables(bench)
    yield from _models(bench)
    yield from _states(bench)
    harm = list(bench.root.rglob("HARM"))
    yield Check("no code in a file was run", not harm, str(harm))


def _told(name: str, ended: lab.Outcome, *codes: int) -> Check:
    return Check(name, ended.code in codes and ended.in_words, str(ended))


def _configs(bench: Bench) -> Iterator[Check]:
    config, data = bench.root / "config.yaml", bench.data
    run = Path(shutil.copytree(bench.run, bench.fresh("configured")))
    for name, text in DOCUMENTS.items():
        config.write_text(text)
        ended = lab.run(["train", data, "--out", bench.fresh("s"), "--config", config], seconds=20)
        yield _told(f"train --config, {name}", ended, 2)
        (run / "config.yaml").write_text(text)
        ended = lab.run(["eval", run, data, "--out", bench.fresh("e")], seconds=20)
        yield _told(f"eval of a run whose config.yaml is: {name}", ended, 0, 2, 6)
        yield _told(f"resume of it: {name}", lab.run(["train", data, "--out", run, "--resume"], seconds=20), 2, 6)
    short = ["train", data, "--out", bench.root / "s", *training(1, 1)]
    for words, codes in (
        (["imgsz=1000000"], (0, 2, 5)),
        ([f"init={bench.root / 'nowhere'}"], (2,)),
        (["--seed", "9" * 23], (2,)),
        (["lr=nan"], (2,)),
        (["batch=-1"], (2,)),
    ):
        bench.fresh("s")
        yield _told(f"train {' '.join(words)[:40]}", lab.run([*short, *words]), *codes)


def _tables(bench: Bench) -> Iterator[Check]:
    image, probs = sorted((bench.data / "images" / "val").iterdir())[0], bench.root / "probs.npy"
    np.save(probs, np.full((2, 48, 64), 0.5, np.float32))
    for name, text in TABLES.items():
        table = bench.root / name
        table.write_text(text)
        ended = lab.run(["refine", image, probs, "--labels", table, "--out", bench.fresh("r")], seconds=20)
        yield _told(f"refine --labels {name}: {text[:20]!r}...", ended, 2, 3, 6)
        yield Check(f"refine --labels {name}: below 1 GB more", ended.peak < 1000 + lab.own_peak(), str(ended))
    head = "{'descr': '<f4', 'fortran_order': False, 'shape': (100000, 100000, 100000)}".ljust(117) + "\n"
    probs.write_bytes(b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head.encode())
    yield _told("refine, an array of 4 PB", lab.run(["refine", image, probs, "--out", bench.fresh("r")]), 3)


def _models(bench: Bench) -> Iterator[Check]:
    from denselab.folders import read_folder, write_folder

    files = read_folder(bench.run / "model")
    for path, value in CONFIGS.items():
        config = json.loads(files["config.json"])
        *parents, last = path.split(".")
        at = config
        for key in parents:
            at = at[key]
        at[last] = value
        folder = bench.fresh("m")
        write_folder(folder, {**files, "config.json": json.dumps(config).encode()})
        for command in ("predict", "eval"):
            data = bench.data / "images" if command == "predict" else bench.data
            ended = lab.run([command, folder, data, "--out", bench.fresh("o"), "--crf"], seconds=20)
            yield _told(f"{command}, {path}: {str(value)[:20]}", ended, 6)
    yield from _weights(bench, files)


def _weights(bench: Bench, files: dict[str, bytes]) -> Iterator[Check]:
    from denselab.folders import write_folder
    from denselab.tensors import pack_tensors, unpack_tensors

    tensors = unpack_tensors(files["model.safetensors"], "model.safetensors")
    broken = pack_tensors({name: tensor * float("nan") for name, tensor in tensors.items()})
    folder = bench.fresh("m")
    write_folder(folder, {**files, "model.safetensors": broken})
    for words in (["predict", folder, bench.data / "images"], ["eval", folder, bench.data]):
        yield _told(f"{words[0]}, weights are NaN", lab.run([*words, "--out", bench.fresh("o")]), 6)
    for name, target in (("model.safetensors", "/dev/zero"), ("config.json", "/dev/zero")):
        folder = Path(shutil.copytree(bench.run / "model", bench.fresh("m")))
        (folder / name).unlink()
        (folder / name).symlink_to(target)
        ended = lab.run(["predict", folder, bench.data / "images", "--out", bench.fresh("o")], seconds=20)
        yield _told(f"{name} is a link to {target}", ended, 6)
    folder = Path(shutil.copytree(bench.run / "model", bench.fresh("m")))
    (folder / "manifest.json").write_text("[" * 200_000)
    ended = lab.run(["predict", folder, bench.data / "images", "--out", bench.fresh("o")], seconds=20)
    yield _told("manifest.json of depth 200,000", ended, 6)


def _states(bench: Bench) -> Iterator[Check]:
    from denselab.folders import read_folder, write_folder

    files = read_folder(bench.run / "last")
    for key, value in STATES.items():
        state = json.dumps({**json.loads(files["state.json"]), key: value}).encode()
        run = Path(shutil.copytree(bench.run, bench.fresh("state")))
        write_folder(run / "last", {**files, "state.json": state})
        ended = lab.run(["train", bench.data, "--out", run, "--resume", "--epochs", "7"])
        yield _told(f"state.json, {key}: {value}", ended, 2, 6)
    run = Path(shutil.copytree(bench.run, bench.fresh("state")))
    write_folder(run / "last", {name: content for name, content in files.items() if name != "state.json"})
    yield _told(
        "last/ without state.json", lab.run(["train", bench.data, "--out", run, "--resume", "--epochs", "7"]), 6
    )
