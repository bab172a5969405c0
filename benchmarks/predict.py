"""A folder of pictures in, label PNGs out: `denselab predict` by each engine against an eager script around
segmentation_models.pytorch.

Both sides have DeepLabV3+ on MobileNetV2, random weights and the same pictures; each is a process of its own, as a user
starts it. segmentation_models.pytorch has one separable convolution in the decoder, the paper and ours have two; so the
script gets the second, and both compute as much: 3.8 and 3.7 billion products at 360x480. --decoder 1 leaves its
network as it comes, with 3.0 of them. The steady state is measured in short turns: all processes are started, and
stopped (SIGSTOP) once they have written a few label maps; then one at a time goes on for a second or two, the script
before and after each of ours. Counted are the label maps that appear in a turn, and the processor time. A ratio is ours
against the mean of the two turns of the script beside it, so that a slow moment of the machine hits both; printed are
the medians over the rounds with the smallest and the largest. `ratio` is the script's time over ours, above 1 is
faster. Once a piece, each side also runs over --pictures alone, from its start to its end, for its whole time and its
memory.

DenseLab runs with --no-overlays, since the script writes label maps alone; --overlays adds them.

    python benchmarks/predict.py --quick
    python benchmarks/predict.py --data FOLDER --models MODELS --rounds 8 --keep rounds.json   # under four minutes
    python benchmarks/predict.py --data FOLDER --models MODELS --rounds 8 --keep rounds.json   # eight more, all told
    pip install segmentation-models-pytorch     # the other side; left out with a line where it is missing

Without --data the demo's scenes are drawn at --size. int8 is calibrated on them, and its loss of mIoU, which random
weights make meaningless, is not looked at: this measures time.
"""

import argparse
import importlib.util
import json
import os
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil

ENGINES = ("torch", "onnx", "openvino", "openvino-bf16", "onnx-int8", "openvino-int8")
SCRIPT = "smp-eager"
EAGER = """
import copy, sys
from pathlib import Path
import numpy as np, torch
import segmentation_models_pytorch as smp
from PIL import Image

source, target, classes, batch = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
model = smp.DeepLabV3Plus("tu-mobilenetv2_100", encoder_weights=None, classes=classes).eval()
if sys.argv[5] == "2":  # a separable convolution of the same 256 channels stands behind ASPP
    model.decoder.block2.extend(copy.deepcopy(model.decoder.aspp[1:]))
mean, std = (torch.tensor(v).view(3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
paths = sorted(source.iterdir())
target.mkdir(parents=True, exist_ok=True)
for start in range(0, len(paths), batch):
    group = paths[start : start + batch]
    pictures = [torch.from_numpy(np.array(Image.open(p).convert("RGB"))).permute(2, 0, 1) / 255 for p in group]
    images = torch.stack([(picture - mean) / std for picture in pictures])
    height, width = images.shape[-2:]
    images = torch.nn.functional.pad(images, (0, -width % 16, 0, -height % 16))
    with torch.no_grad():
        labels = model(images)[..., :height, :width].argmax(dim=1).to(torch.uint8).numpy()
    for path, found in zip(group, labels):
        Image.fromarray(found).save(target / f"{path.stem}.png")
"""


# A small process between this one and the side: a child's peak counts from its parent's size, which is large here.
PEAK = """
import resource, subprocess, sys
code = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL).returncode
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(code)
"""


FASTEST = 250  # pictures a second that a folder must last for
FIRST = 12  # label maps that a process has written when its first turn comes: what is done once is done


def main() -> int:
    """Prepare, take turns, print. Returns the exit code."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # else the stopped processes would stay for ever
    options = parse()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        few, many = pictures(options, folder)
        commands = sides(options, folder)
        setting = describe(options)
        pieces = kept_pieces(options.keep, setting)
        pieces.append({"setting": setting, "whole": {side: whole(commands[side], few, folder) for side in commands}})
        with started(commands, many, folder) as running:
            pieces[-1]["rounds"] = [one_round(running, options.seconds, n % 2 == 1) for n in range(options.rounds)]
    if options.keep:
        options.keep.write_text(json.dumps(pieces, indent=1))
    rows = [row(side, pieces) for side in commands]
    if options.json:
        print(json.dumps({"setting": setting, "rows": rows}))
        return 0
    report(rows)
    told = {**setting, "rounds": sum(len(piece["rounds"]) for piece in pieces), "turns": f"{options.seconds:g} s"}
    print("; ".join(f"{key} {value}" for key, value in told.items()))
    return 0


def parse() -> argparse.Namespace:
    """The options, checked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="a folder of pictures of one size")
    parser.add_argument("--size", default="360x480", help="HEIGHTxWIDTH of the drawn scenes, and of the network")
    parser.add_argument("--pictures", type=int, default=64, help="of a whole run; the turns take them again and again")
    parser.add_argument("--classes", type=int, default=11)
    parser.add_argument("--batch", type=int, default=1, help="of the script; DenseLab runs each picture by itself")
    parser.add_argument("--decoder", choices=("1", "2"), default="2", help="convolutions of the script's decoder")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=1.5, help="of a turn")
    parser.add_argument("--keep", type=Path, help="a file to which these rounds are added, and that is told as a whole")
    parser.add_argument("--engines", default=",".join(ENGINES))
    parser.add_argument("--models", type=Path, help="keep the models in this folder; a later run takes them from there")
    parser.add_argument("--overlays", action="store_true", help="DenseLab also writes an overlay of each picture")
    parser.add_argument("--quick", action="store_true", help="24 pictures, 3 rounds")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.quick:
        options.pictures, options.rounds = 24, 3
    options.size = tuple(map(int, options.size.split("x")))
    if unknown := set(options.engines.split(",")) - set(ENGINES):
        parser.error(f"no engine {', '.join(sorted(unknown))}; there are {', '.join(ENGINES)}")
    return options


def pictures(options: argparse.Namespace, folder: Path) -> tuple[Path, Path]:
    """A folder of the pictures, and one that holds them so often that no process gets through it in its turns."""
    if options.data:
        files = sorted(p for p in options.data.iterdir() if p.suffix.lower() in (".png", ".jpg", ".jpeg"))
        files = files[: options.pictures]
    else:
        from denselab.data.draw.synthetic import write_synthetic

        root = write_synthetic(folder / "scenes", train=1, val=options.pictures, size=options.size)
        files = sorted((root / "images" / "val").iterdir())
    few, many = folder / "few", folder / "many"
    few.mkdir()
    many.mkdir()
    for file in files:
        shutil.copyfile(file, few / file.name)
    for number in range(int(FASTEST * options.seconds * (options.rounds + 1)) // len(files) + 1):
        for file in files:
            os.link(few / file.name, many / f"{number}_{file.name}")
    return few, many


def sides(options: argparse.Namespace, folder: Path) -> dict[str, list[str]]:
    """The command of each side; IN and OUT stand for the folders."""
    commands = {}
    if importlib.util.find_spec("segmentation_models_pytorch"):
        given = [str(options.classes), str(options.batch), options.decoder]
        commands[SCRIPT] = [sys.executable, "-c", EAGER, "IN", "OUT", *given]
    else:
        print("segmentation_models.pytorch is not installed; left out", file=sys.stderr)
    for side, model in models(options, folder).items():
        engine = side.partition("-")[0]
        commands[side] = [
            *(sys.executable, "-m", "denselab", "predict", str(model), "IN", "--out", "OUT"),
            *("--engine", engine, "--device", "cpu", "--json"),
            *([] if options.overlays else ["--no-overlays"]),
        ]
    return commands


def models(options: argparse.Namespace, folder: Path) -> dict[str, Path]:
    """A model folder for each engine asked for."""
    home = options.models or folder
    found = {side: home / side for side in options.engines.split(",")}
    if not all(path.is_dir() for path in found.values()):
        write_models(options, folder / "few", home)
    return found


def write_models(options: argparse.Namespace, pictures: Path, home: Path) -> None:
    """Write the model folder of each engine into `home`. pictures: a folder, to calibrate int8 on."""
    import numpy as np
    import torch

    from denselab.build import create_model
    from denselab.data.pixels.images import read_image
    from denselab.data.resizing.resize import resize_image
    from denselab.engine.folder import save_engine
    from denselab.engine.spec import Architecture, ModelSpec, Preprocessing
    from denselab.engine.torch_engine import TorchEngine
    from denselab.export.int8 import Quantiser
    from denselab.export.onnx_graph import onnx_model
    from denselab.export.program import coarse_factor, exported_program
    from denselab.labels import LabelEntry, LabelSpace
    from denselab.models.release import IMAGENET

    torch.manual_seed(0)
    space = LabelSpace(tuple(LabelEntry(i, f"class {i}", (i, 255 - i, i // 2)) for i in range(options.classes)))
    spec = ModelSpec(
        Architecture("deeplabv3plus", options.classes, encoder="mobilenetv2_100"),
        space,
        Preprocessing(options.size, *IMAGENET),
    )
    network = create_model("deeplabv3plus", options.classes, encoder="mobilenetv2_100").eval()
    engine = TorchEngine(spec, network, torch.device("cpu"))
    wanted = options.engines.split(",")
    if "torch" in wanted:
        save_engine(engine, home / "torch")
    if wanted != ["torch"]:
        model = onnx_model(exported_program(engine, True), spec, coarse=coarse_factor(engine))
        seen = [resize_image(read_image(p), options.size)[None] for p in sorted(pictures.iterdir())[:8]]
        documents = {"": model.SerializeToString()}
        if any(side.endswith("int8") for side in wanted):
            documents["-int8"] = Quantiser(model, [np.ascontiguousarray(s) for s in seen], pictures.parent)(())
        for side in set(wanted) - {"torch"}:
            kind, _, form = side.partition("-")
            document = documents["-int8" if form == "int8" else ""]
            write_export(home / side, document, spec, kind, bf16=form == "bf16")


def write_export(folder: Path, document: bytes, spec: object, kind: str, bf16: bool) -> None:
    """Write an exported model folder, without the measure that `denselab export` makes."""
    from denselab.engine.folder import config_bytes
    from denselab.export.openvino_graph import openvino_files
    from denselab.folders import write_folder
    from denselab.run_folder import IR_GRAPH, IR_WEIGHTS, MODEL_CONFIG, ONNX_GRAPH

    if kind == "onnx":
        files = {ONNX_GRAPH: document}
    else:
        files = dict(zip((IR_GRAPH, IR_WEIGHTS), openvino_files(document, {}, bf16), strict=True))
    write_folder(folder, {**files, MODEL_CONFIG: config_bytes(spec)})


def run(command: list[str], source: Path, out: Path) -> list[str]:
    """The words of a command that reads `source` and writes `out`."""
    return [{"IN": str(source), "OUT": str(out)}.get(word, word) for word in command]


def whole(command: list[str], source: Path, folder: Path) -> dict[str, float]:
    """Seconds of one process from its start to its end, and the peak of its resident memory in MiB."""
    out = folder / "whole"
    shutil.rmtree(out, ignore_errors=True)
    words, began = [sys.executable, "-c", PEAK, *run(command, source, out)], time.perf_counter()
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    seconds, count = time.perf_counter() - began, label_maps(out)
    if done.returncode or count != len(list(source.iterdir())):
        raise SystemExit(
            f"{' '.join(words[3:9])} ended with {done.returncode}, {count} label maps: {done.stderr[-800:]}"
        )
    kibibytes = int(done.stdout.strip().rpartition("\n")[2])
    return {"seconds": seconds, "mib": kibibytes / (2**20 if sys.platform == "darwin" else 2**10)}  # macOS: bytes


def label_maps(out: Path) -> int:
    """How many there are; what is being written has a name that begins with a point."""
    folder = out / "labels" if (out / "labels").is_dir() else out
    names = os.listdir(folder) if folder.is_dir() else []
    return sum(name.endswith(".png") and not name.startswith(".") for name in names)


class Running:
    """A process at work on a folder, stopped but in its turns."""

    def __init__(self, command: list[str], source: Path, out: Path) -> None:
        self.out = out
        self.log = out.with_suffix(".log").open("w+")
        words = run(command, source, out)
        self.process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=self.log)
        self.usage = psutil.Process(self.process.pid)
        while label_maps(out) < FIRST:
            time.sleep(0.05)
            self.require_alive()
        self.process.send_signal(signal.SIGSTOP)

    def turn(self, seconds: float) -> tuple[float, float]:
        """Go on for so long. Returns pictures a second, and milliseconds of processor time a picture."""
        count, used = label_maps(self.out), self.processor()
        began = time.perf_counter()
        self.process.send_signal(signal.SIGCONT)
        time.sleep(seconds)
        self.process.send_signal(signal.SIGSTOP)
        while self.usage.status() != psutil.STATUS_STOPPED:  # what it does on the disk, it first ends
            time.sleep(0.001)
            self.require_alive()
        elapsed = time.perf_counter() - began
        count = max(label_maps(self.out) - count, 1)
        return count / elapsed, 1000 * (self.processor() - used) / count

    def processor(self) -> float:
        """Seconds of processor time until now."""
        return sum(self.usage.cpu_times()[:2])

    def require_alive(self) -> None:
        if self.process.poll() is not None:
            self.log.seek(0)
            raise SystemExit(f"{self.process.args} ended with {self.process.returncode}: {self.log.read()[-800:]}")

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        self.log.close()


@contextmanager
def started(commands: dict[str, list[str]], source: Path, folder: Path) -> Iterator[dict[str, Running]]:
    """All sides at work, each stopped; at the end they are no more."""
    running: dict[str, Running] = {}
    try:
        for side, command in commands.items():
            running[side] = Running(command, source, folder / side)
        yield running
    finally:
        for one in running.values():
            one.end()


def one_round(running: dict[str, Running], seconds: float, backwards: bool) -> dict[str, list[tuple[float, float]]]:
    """Turns of each side: of ours one, of the script one before and one after each of them."""
    turns: dict[str, list[tuple[float, float]]] = {side: [] for side in running}
    ours = sorted((side for side in running if side != SCRIPT), reverse=backwards)
    order = [side for one in ours for side in (SCRIPT, one)] + [SCRIPT]
    for side in order:
        if side in running:
            turns[side].append(running[side].turn(seconds))
    between = dict(zip(ours, pairwise(turns.get(SCRIPT, [])), strict=False))
    return {side: [*own, *between.get(side, ())] for side, own in turns.items()}


def row(side: str, pieces: list[dict[str, Any]]) -> dict[str, Any]:
    """What came of a side. Of ours a round holds its own turn, and those of the script before and after it."""
    rounds = [one[side] for piece in pieces for one in piece["rounds"]]
    own = [turn for turns in rounds for turn in (turns if side == SCRIPT else turns[:1])]
    found: dict[str, Any] = {"side": side, "pictures/s": statistics.median(rate for rate, _ in own)}
    found["processor ms"] = statistics.median(cost for _, cost in own)
    found["mib"] = max(piece["whole"][side]["mib"] for piece in pieces)
    found["whole s"] = statistics.median(piece["whole"][side]["seconds"] for piece in pieces)
    if side != SCRIPT and len(rounds[0]) > 1:
        steady = [turns[0][0] / statistics.mean(rate for rate, _ in turns[1:]) for turns in rounds]
        processor = [statistics.mean(cost for _, cost in turns[1:]) / turns[0][1] for turns in rounds]
        both = [piece["whole"][SCRIPT]["seconds"] / piece["whole"][side]["seconds"] for piece in pieces]
        for name, ratios in (("ratio", steady), ("processor ratio", processor), ("whole ratio", both)):
            found[name] = [statistics.median(ratios), min(ratios), max(ratios)]
    return found


def describe(options: argparse.Namespace) -> dict[str, Any]:
    """What the numbers need to be repeated."""
    from denselab.training.records import describe_environment

    facts = describe_environment("cpu", 1)
    return {
        "size": "x".join(map(str, options.size)),
        "pictures": options.pictures,
        "classes": options.classes,
        "batch of the script": options.batch,
        "convolutions of its decoder": int(options.decoder),
        "engines": options.engines,
        "overlays": options.overlays,
        "machine": f"{platform.processor() or platform.machine()}, {facts['cores']} cores",
        "torch": facts["versions"]["torch"],
        "commit": facts["commit"],
        "date": facts["started"][:10],
    }


def kept_pieces(path: Path | None, setting: dict[str, Any]) -> list[dict[str, Any]]:
    """The rounds that were kept before, of the same setting."""
    pieces: list[dict[str, Any]] = json.loads(path.read_text()) if path and path.exists() else []
    for piece in pieces:
        for key in setting.keys() - {"date"}:
            if piece["setting"][key] != setting[key]:
                raise SystemExit(f"{path} has {key} {piece['setting'][key]}, not {setting[key]}; keep these elsewhere")
    return pieces


def report(rows: list[dict[str, Any]]) -> None:
    """The table."""
    print("| side | pictures/s | ratio | processor, ms a picture | ratio | whole process, s | ratio | peak MiB |")
    print("|---|---|---|---|---|---|---|---|")
    for found in rows:
        steady, processor, both = (
            "{:.2f} ({:.2f} to {:.2f})".format(*found[name]) if name in found else ""
            for name in ("ratio", "processor ratio", "whole ratio")
        )
        cells = (found["side"], f"{found['pictures/s']:.1f}", steady, f"{found['processor ms']:.1f}", processor)
        print(f"| {' | '.join(cells)} | {found['whole s']:.2f} | {both.partition(' ')[0]} | {found['mib']:.0f} |")


if __name__ == "__main__":
    sys.exit(main())
