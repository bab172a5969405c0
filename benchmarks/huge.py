"""Peak memory and time of `denselab predict` on large pictures, by size: whole processes, one per picture.

The picture is a TIFF in tiles of 256 (Deflate) that is drawn by this script, in bands. With `--engine fake` the process
has an engine that answers at once with what the pixels say, so that what is measured is everything but the network:
reading, windows, blending, writing. Blending is timed apart, as its share of all.

    python benchmarks/huge.py --model runs/streets --sizes 2000,4000
    python benchmarks/huge.py --engine fake --sizes 2000,4000,8000 --classes 11
"""

import argparse
import json
import platform
import resource
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

TILE, COLOURS = 256, 64


def main() -> None:
    """Measure each size in a process of its own and print a table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="2000,4000", help="sides of square pictures, or HEIGHTxWIDTH, pixels")
    parser.add_argument("--engine", choices=("model", "fake"), default="model")
    parser.add_argument("--model", help="model or run folder, for --engine model")
    parser.add_argument("--classes", type=int, default=11, help="of the fake engine")
    parser.add_argument("--window", default="768x768")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(measured(options, Path(options.child))))
        return
    rows = [in_a_process(options, size) for size in options.sizes.split(",")]
    setting = f"window {options.window}; {platform.processor() or platform.machine()}; {time.strftime('%Y-%m-%d')}"
    if options.json:
        print(json.dumps({"setting": setting, "rows": rows}))
        return
    for row in rows:
        print(
            f"{row['size']}: {row['seconds']:.1f} s, peak {row['peak_mib']:.0f} MiB (before the picture "
            f"{row['start_mib']:.0f}), network {row['network']:.1%}, blending {row['blending']:.1%} of the time"
        )
    print(setting)


def in_a_process(options: argparse.Namespace, size: str) -> dict[str, Any]:
    """Draw a picture and measure it in a new process."""
    height, width = (int(part) for part in (size if "x" in size else f"{size}x{size}").split("x"))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "scene.tif"
        draw(path, height, width)
        command = [sys.executable, __file__, "--child", str(path), "--engine", options.engine]
        command += ["--window", options.window]
        command += ["--classes", str(options.classes), *(["--model", options.model] if options.model else [])]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    return {"size": f"{height}x{width}", **json.loads(done.stdout.splitlines()[-1])}


def draw(path: Path, height: int, width: int) -> None:
    """A picture of flat fields with noise, of COLOURS kinds of tiles, each of which is packed once."""
    import tifffile

    with tifffile.TiffWriter(path, bigtiff=height * width * 3 > 2**31) as file:
        file.write(
            tiles(height, width),
            shape=(height, width, 3),
            dtype=np.uint8,
            tile=(TILE, TILE),
            photometric="rgb",
            compression="zlib",
            metadata=None,
        )


def tiles(height: int, width: int) -> Iterator[bytes]:
    """Packed tiles from left to right, from top to bottom."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 32, (TILE, TILE, 3), dtype=np.uint8)
    kinds = [zlib.compress((noise + rng.integers(0, 224, 3, dtype=np.uint8)).tobytes()) for _ in range(COLOURS)]
    for _ in range(-(-height // TILE) * -(-width // TILE)):
        yield kinds[rng.integers(COLOURS)]


def measured(options: argparse.Namespace, path: Path) -> dict[str, Any]:
    """Predict the picture in this process."""
    from denselab.runtime import keep_freed_memory

    keep_freed_memory()  # as the command does, before torch allocates anything
    from denselab.console import Progress
    from denselab.data.pixels.rows import open_rows
    from denselab.inference import bands, tiling
    from denselab.inference.huge import predict_rows
    from denselab.inference.job import Job
    from denselab.inference.plan import plan_for
    from denselab.inference.stores import LocalPlace

    engine = fake_engine(options.classes) if options.engine == "fake" else model_engine(options.model)
    window = tuple(int(part) for part in options.window.split("x"))
    plan = plan_for(engine, window=(window[0], window[1]))
    seconds = {"network": 0.0, "blending": 0.0}
    bands.window_probs = timed(bands.window_probs, seconds, "network")  # type: ignore[attr-defined]
    tiling.Band.add = blending_timed(tiling.Band.add, seconds)  # type: ignore[method-assign]
    start = peak_mib()
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as out:
        job, stem = Job(plan, LocalPlace(Path(out))), PurePosixPath("scene")
        predict_rows(plan, open_rows(path), job.out, stem, "", Progress("", None, ""), job.targets(stem))
    total = time.perf_counter() - started
    shares = {name: value / total for name, value in seconds.items()}
    return {"seconds": total, "start_mib": start, "peak_mib": peak_mib(), **shares}


def timed(function: Any, seconds: dict[str, float], name: str) -> Any:
    """The function, whose time is added up."""

    def run(*arguments: Any) -> Any:
        started = time.perf_counter()
        found = function(*arguments)
        seconds[name] += time.perf_counter() - started
        return found

    return run


def blending_timed(add: Any, seconds: dict[str, float]) -> Any:
    """Band.add, whose time less that of what it emits is added up."""

    def run(band: Any, probs: Any, column: Any) -> None:
        own = {"emit": 0.0}
        emit, band.emit = band.emit, timed(band.emit, own, "emit")
        started = time.perf_counter()
        add(band, probs, column)
        seconds["blending"] += time.perf_counter() - started - own["emit"]
        band.emit = emit

    return run


def peak_mib() -> float:
    """The largest memory that this process had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def model_engine(name: str) -> Any:
    """The engine of a model folder."""
    from denselab.engine.open import open_model

    return open_model(name, "cpu")[0]


def fake_engine(classes: int) -> Any:
    """An engine.Engine whose logits are a few sums of the picture's colours."""
    import torch

    from denselab.engine.spec import Architecture, ModelSpec, Preprocessing
    from denselab.labels import LabelEntry, LabelSpace

    entries = tuple(LabelEntry(i, f"class {i}", (i * 20 % 256, 99, 20)) for i in range(classes))
    spec = ModelSpec(
        Architecture("fake", classes), LabelSpace(entries), Preprocessing((512, 512), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    )

    class Fake:
        device = "cpu"

        def __init__(self) -> None:
            self.spec = spec

        def logits(self, pictures: np.ndarray) -> Any:
            colour = torch.from_numpy(pictures).float().permute(0, 3, 1, 2) / 255
            steps = torch.arange(classes, dtype=torch.float32).view(1, -1, 1, 1) / classes
            return -((colour[:, :1] - steps) ** 2) * 50 + colour[:, 1:2]

        def fits(self, size: tuple[int, int]) -> bool:
            return size[0] * size[1] < 2**22

        def require_sampling(self) -> None:
            raise NotImplementedError

        def sampling(self) -> Any:
            return nullcontext()

    return Fake()


if __name__ == "__main__":
    main()
