"""A folder of pictures in, label PNGs out: `denselab predict` by each engine against an eager script around
segmentation_models.pytorch.

Both sides have DeepLabV3+ on MobileNetV2 (ours with the paper's two decoder convolutions, theirs with one), random
weights and the same pictures; each is a process of its own, as a user starts it. Turns alternate, so that a slow
moment hits all. Printed are medians: seconds of the whole process with its start, and pictures a second in the steady
state, which is the longer run minus the shorter one: starting, loading and warming up cancel. `ratio` is the script's
time over ours, above 1 is faster; its median over the rounds. DenseLab runs with --no-overlays, since the script writes
label maps alone; --overlays adds them.

    python benchmarks/predict.py --quick
    python benchmarks/predict.py --data FOLDER --rounds 7 --classes 150 --json
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
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

ENGINES = ("torch", "onnx", "openvino", "onnx-int8", "openvino-int8")
SCRIPT = "smp-eager"
EAGER = """
import sys
from pathlib import Path
import numpy as np, torch
import segmentation_models_pytorch as smp
from PIL import Image

source, target, classes, batch = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
model = smp.DeepLabV3Plus("tu-mobilenetv2_100", encoder_weights=None, classes=classes).eval()
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


@dataclass(frozen=True)
class Row:
    """A side. whole: seconds of the long run; steady: pictures a second; ratios: the script's time over this one's.

    processor: milliseconds of processor time a picture in the steady state, which neighbours change least.
    """

    side: str
    whole: float
    steady: float
    processor: float
    whole_ratio: float | None
    steady_ratio: float | None
    peak_mib: float


def main() -> int:
    """Prepare, take turns, print. Returns the exit code."""
    options = parse()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        short, long = pictures(options, folder)
        commands = sides(options, folder)
        seconds: dict[str, list[tuple[float, float]]] = {side: [] for side in commands}
        used: dict[str, list[float]] = {side: [] for side in commands}
        for number in range(options.rounds + 1):
            for side in sorted(commands, reverse=number % 2 == 1):
                first, second = (timed(commands[side], source, folder) for source in (short, long))
                if number or options.rounds == 1:  # the first round fills the disk's and numba's caches
                    seconds[side].append((first[0], second[0]))
                    used[side].append(second[1] - first[1])
        more = len(list(long.iterdir())) - len(list(short.iterdir()))
        cost = {side: 1000 * statistics.median(times) / more for side, times in used.items()}
        rows = [row(side, seconds, more, cost[side], peak(commands[side], short, folder)) for side in commands]
    report(options, rows)
    return 0


def parse() -> argparse.Namespace:
    """The options, checked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="a folder of pictures of one size")
    parser.add_argument("--size", default="360x480", help="HEIGHTxWIDTH of the drawn scenes, and of the network")
    parser.add_argument(
        "--pictures", type=int, default=64, help="of the long run; a quarter of them make the short one"
    )
    parser.add_argument("--classes", type=int, default=11)
    parser.add_argument("--batch", type=int, default=1, help="of the script; DenseLab runs each picture by itself")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--engines", default=",".join(ENGINES))
    parser.add_argument("--models", type=Path, help="keep the models in this folder; a later run takes them from there")
    parser.add_argument("--overlays", action="store_true", help="DenseLab also writes an overlay of each picture")
    parser.add_argument("--quick", action="store_true", help="24 pictures, 2 rounds")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.quick:
        options.pictures, options.rounds = 24, 2
    options.size = tuple(map(int, options.size.split("x")))
    if unknown := set(options.engines.split(",")) - set(ENGINES):
        parser.error(f"no engine {', '.join(sorted(unknown))}; there are {', '.join(ENGINES)}")
    return options


def pictures(options: argparse.Namespace, folder: Path) -> tuple[Path, Path]:
    """The folders of the short and of the long run."""
    short, long = folder / "short", folder / "long"
    if options.data:
        files = sorted(p for p in options.data.iterdir() if p.suffix.lower() in (".png", ".jpg", ".jpeg"))
        files = files[: options.pictures]
    else:
        from denselab.data.draw.synthetic import write_synthetic

        root = write_synthetic(folder / "scenes", train=1, val=options.pictures, size=options.size)
        files = sorted((root / "images" / "val").iterdir())
    for target, count in ((short, max(len(files) // 4, 1)), (long, len(files))):
        target.mkdir()
        for file in files[:count]:
            shutil.copyfile(file, target / file.name)
    return short, long


def sides(options: argparse.Namespace, folder: Path) -> dict[str, list[str]]:
    """The command of each side; IN and OUT stand for the folders."""
    commands = {}
    if importlib.util.find_spec("segmentation_models_pytorch"):
        commands[SCRIPT] = [sys.executable, "-c", EAGER, "IN", "OUT", str(options.classes), str(options.batch)]
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
        write_models(options, folder / "short", home)
    return found


def write_models(options: argparse.Namespace, pictures: Path, home: Path) -> None:
    """Write the model folder of each engine into `home`. pictures: a folder, to calibrate int8 on."""
    import numpy as np
    import torch

    from denselab.build import create_model
    from denselab.data.feed.resize import resize_image
    from denselab.data.read.images import read_image
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
        for kind in ("onnx", "openvino"):
            for ending, document in documents.items():
                if f"{kind}{ending}" in wanted:
                    write_export(home / f"{kind}{ending}", document, spec, kind)


def write_export(folder: Path, document: bytes, spec: object, kind: str) -> None:
    """Write an exported model folder, without the measure that `denselab export` makes."""
    from denselab.engine.folder import config_bytes
    from denselab.export.openvino_graph import openvino_files
    from denselab.files import write_folder
    from denselab.run_folder import IR_GRAPH, IR_WEIGHTS, MODEL_CONFIG, ONNX_GRAPH

    if kind == "onnx":
        files = {ONNX_GRAPH: document}
    else:
        files = dict(zip((IR_GRAPH, IR_WEIGHTS), openvino_files(document, {}), strict=True))
    write_folder(folder, {**files, MODEL_CONFIG: config_bytes(spec)})


def timed(command: list[str], source: Path, folder: Path) -> tuple[float, float]:
    """Seconds of one process, and of the processor that it used."""
    before, started = os.times(), time.perf_counter()
    run(command, source, folder)
    seconds, after = time.perf_counter() - started, os.times()
    return seconds, sum(after[2:4]) - sum(before[2:4])  # user and system, of children that have ended


def run(command: list[str], source: Path, folder: Path) -> str:
    """Run a side over a folder; returns the last line that it printed."""
    out = folder / "out"
    shutil.rmtree(out, ignore_errors=True)
    filled = [{"IN": str(source), "OUT": str(out)}.get(word, word) for word in command]
    done = subprocess.run(filled, capture_output=True, text=True, check=False)
    count = len(list(out.rglob("*.png")))  # overlays are JPEG
    if done.returncode or count != len(list(source.iterdir())):
        raise SystemExit(
            f"{' '.join(filled[:6])} ended with {done.returncode}, {count} label maps: {done.stderr[-800:]}"
        )
    return done.stdout.strip().rpartition("\n")[2]


def peak(command: list[str], source: Path, folder: Path) -> float:
    """The peak of resident memory of one process, MiB."""
    kibibytes = int(run([sys.executable, "-c", PEAK, *command], source, folder))
    return kibibytes / (2**20 if sys.platform == "darwin" else 2**10)  # macOS counts bytes


def row(side: str, seconds: dict[str, list[tuple[float, float]]], more: int, processor: float, mib: float) -> Row:
    """Medians of a side. more: pictures that the long run has beyond the short one."""
    own = seconds[side]
    whole, steady = statistics.median(t for _, t in own), statistics.median(t - s for s, t in own)
    ratios = (None, None)
    if SCRIPT in seconds and side != SCRIPT:
        pairs = list(zip(seconds[SCRIPT], own, strict=True))
        ratios = (
            statistics.median(theirs[1] / ours[1] for theirs, ours in pairs),
            statistics.median((theirs[1] - theirs[0]) / max(ours[1] - ours[0], 1e-9) for theirs, ours in pairs),
        )
    rate = more / steady if steady > 0 else float("nan")  # too few pictures beside the noise of the start
    return Row(side, whole, rate, processor, *ratios, mib)


def report(options: argparse.Namespace, rows: list[Row]) -> None:
    """The table, and the setting that the numbers need to be repeated; with --json everything."""
    from denselab.training.records import describe_environment

    facts = describe_environment("cpu", 1)
    setting = {
        "size": "x".join(map(str, options.size)),
        "pictures": options.pictures,
        "classes": options.classes,
        "batch of the script": options.batch,
        "rounds": options.rounds,
        "overlays": options.overlays,
        "machine": f"{platform.processor() or platform.machine()}, {facts['cores']} cores",
        "torch": facts["versions"]["torch"],
        "commit": facts["commit"],
        "date": facts["started"][:10],
    }
    if options.json:
        print(json.dumps({"setting": setting, "rows": [asdict(entry) for entry in rows]}))
        return
    print("| side | whole process, s | ratio | steady, pictures/s | ratio | processor, ms a picture | peak MiB |")
    print("|---|---|---|---|---|---|---|")
    for entry in rows:
        whole, steady = (f"{r:.2f}" if r else "" for r in (entry.whole_ratio, entry.steady_ratio))
        cells = (entry.side, f"{entry.whole:.2f}", whole, f"{entry.steady:.1f}", steady, f"{entry.processor:.1f}")
        print(f"| {' | '.join(cells)} | {entry.peak_mib:.0f} |")
    print("; ".join(f"{key} {value}" for key, value in setting.items()))


if __name__ == "__main__":
    sys.exit(main())
