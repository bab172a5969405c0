"""What the checks work on: a small data set, a trained run of it, and files that are wrong in one way each."""

import shutil
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from reliability import lab


def training(epochs: int = 6, validations: int = 6, model: str = "pixelwise", imgsz: str = "32x48") -> tuple[str, ...]:
    """The options of a short training, the same each time, that saves after every step."""
    return (
        *("--model", model, "--imgsz", imgsz, "--batch", "4", "--device", "cpu", "--workers", "0"),
        *("--seed", "3", "--epochs", str(epochs), f"validations={validations}", "save_every=0.001s"),
    )


@dataclass(frozen=True)
class Bench:
    """Where the checks work. data: the data set. run: a finished `training` on it. long: whether all are wanted."""

    root: Path
    data: Path
    run: Path
    long: bool

    def fresh(self, name: str) -> Path:
        """An unused path of this name."""
        path = self.root / name
        shutil.rmtree(path, ignore_errors=True)
        return path

    def many(self, quick: int, long: int) -> int:
        """How often something is tried."""
        return long if self.long else quick


def prepare(root: Path, long: bool) -> Bench:
    """Draw the data and train the run. Raises RuntimeError where not even that works."""
    from denselab.data.draw.synthetic import write_synthetic

    data = write_synthetic(root / "data", train=12, val=4, size=(48, 64), seed=5)
    done = lab.run(["train", data, "--out", root / "run", *training()], seconds=300)
    if done.code != 0:
        raise RuntimeError(f"the plain run failed: {done}")
    return Bench(root, data, root / "run", long)


def png_that_claims(height: int, width: int, pixels: bool = False) -> bytes:
    """A PNG whose header claims a size; pixels: whether it holds them, all black, in a thousandth of their space."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", b"")]
    if pixels:
        packer, row = zlib.compressobj(1), b"\0" * (1 + 3 * width)
        chunks[1:] = [(b"IDAT", b"".join(packer.compress(row) for _ in range(height)) + packer.flush()), (b"IEND", b"")]
    body = (struct.pack(">I", len(c)) + kind + c + struct.pack(">I", zlib.crc32(kind + c)) for kind, c in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(body)


def picture(path: Path, height: int = 48, width: int = 64, seed: int = 0) -> Path:
    """Write a picture of noise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(values).save(path)
    return path


def data_with(bench: Bench, name: str) -> Path:
    """A copy of the data set, to be damaged."""
    return Path(shutil.copytree(bench.data, bench.fresh(name)))
