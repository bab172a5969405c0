"""What a caller passes in, made into pictures: paths, folders, globs on the command line; arrays and tensors in Python."""

import glob
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
from PIL import Image as PILImage
from PIL import ImageOps

from denselab.data.read.images import PICTURE_SUFFIXES, read_image
from denselab.errors import ConfigError, ShapeError
from denselab.paths import require_path
from denselab.types import Image

VIDEO_SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv", ".flv", ".mts")

Picture = str | Path | PILImage.Image | np.ndarray | torch.Tensor
"""Everything a Predictor takes: a path, a PIL picture, a (H, W, 3) or (H, W) uint8 array, a (3, H, W) tensor."""


@dataclass(frozen=True)
class Source:
    """One picture file to predict. stem: where its results go below the output folder, without suffix."""

    path: Path
    stem: PurePosixPath


@dataclass(frozen=True)
class Skipped:
    """An input that was left out, and why."""

    path: str
    reason: str


def find_sources(inputs: Sequence[str], out: Path) -> tuple[list[Source], list[Skipped]]:
    """The picture files that command line inputs stand for, each once, with distinct stems; and what was left out.

    A folder is searched recursively for picture files (results below `out` are not inputs); stems mirror its tree.
    A pattern with * ? [ is resolved here where the shell did not. Raises ConfigError where results would land on inputs.
    """
    sources: list[Source] = []
    skipped: list[Skipped] = []
    for text in inputs:
        path = Path(text)
        found: list[Source] = []
        if path.is_dir():
            found = [Source(p, _stem(p.relative_to(path))) for p in _pictures_below(path, out)]
        elif path.exists():
            _sort_in(path, sources, skipped)
            continue
        elif glob.has_magic(text):
            found = _matches(text, out)
        if not found:
            skipped.append(Skipped(text, _why_nothing(path, text)))
        sources += found
    unique = {os.path.abspath(source.path): source for source in sources}  # a link is an input of its own
    return _distinct(unique.values()), skipped


def _why_nothing(path: Path, text: str) -> str:
    if path.is_dir():
        return f"holds no picture ({', '.join(PICTURE_SUFFIXES[:4])}, ...)"
    return "matches no picture" if glob.has_magic(text) else "there is no such file or folder"


def _sort_in(path: Path, sources: list[Source], skipped: list[Skipped]) -> None:
    if path.suffix.lower() in VIDEO_SUFFIXES:
        frames = f"ffmpeg -i {path.name} frames/%06d.png"
        skipped.append(
            Skipped(str(path), f"is a video; predict takes pictures: extract its frames ({frames}) and pass them")
        )
    else:  # a file that was named is tried whatever its suffix
        sources.append(Source(path, _stem(Path(path.name))))


def _stem(path: Path) -> PurePosixPath:
    return PurePosixPath(path.with_suffix("").as_posix())


def _pictures_below(folder: Path, out: Path) -> list[Path]:
    result_folder = out.resolve()
    named = (p for p in folder.rglob("*") if p.suffix.lower() in PICTURE_SUFFIXES and not p.is_dir())
    paths = (p for p in named if not any(part.startswith(".") for part in p.relative_to(folder).parts))
    if folder.resolve().is_relative_to(result_folder):  # then everything here would be a result
        return sorted(paths)
    return sorted(p for p in paths if not p.resolve().is_relative_to(result_folder))


def _matches(pattern: str, out: Path) -> list[Source]:
    """Files of a glob; stems are relative to the part of the pattern before the first wildcard."""
    parts = Path(pattern).parts
    plain = next(i for i, part in enumerate(parts) if glob.has_magic(part))
    base = Path(*parts[:plain])
    found = [Path(p) for p in sorted(glob.glob(pattern, recursive=True))]
    files = [p for p in found if p.is_file()] + [p for f in found if f.is_dir() for p in _pictures_below(f, out)]
    return [Source(p, _stem(p.relative_to(base))) for p in files if p.suffix.lower() in PICTURE_SUFFIXES]


def _distinct(sources: Iterable[Source]) -> list[Source]:
    """Stems made distinct: a.jpg beside a.png become "a.jpg" and "a.png"; what still collides is counted up.

    Compared without case, as some file systems do.
    """
    sources = list(sources)
    for rename in (_with_suffix, _with_folder):
        count = Counter(str(source.stem).lower() for source in sources)
        sources = [replace(s, stem=rename(s)) if count[str(s.stem).lower()] > 1 else s for s in sources]
    taken: Counter[str] = Counter()
    result = []
    for source in sources:
        stem = source.stem
        while taken[str(stem).lower()]:
            taken[str(source.stem).lower()] += 1
            stem = source.stem.with_name(f"{source.stem.name}-{taken[str(source.stem).lower()]}")
        taken[str(stem).lower()] += 1
        result.append(replace(source, stem=stem))
    return result


def _with_suffix(source: Source) -> PurePosixPath:
    return source.stem.with_name(source.path.name)


def _with_folder(source: Source) -> PurePosixPath:
    folder = source.path.resolve().parent.name
    return source.stem.with_name(f"{folder}-{source.stem.name}") if folder else source.stem


def refuse_overwriting(targets: Iterable[Path], sources: Iterable[Source]) -> None:
    """Raise ConfigError where a result file would replace an input file."""
    inputs = {source.path.resolve() for source in sources}
    for target in targets:
        if target.resolve() in inputs:
            raise ConfigError(f"the result {target} would overwrite an input picture; choose another --out folder")


def as_image(picture: Picture) -> Image:
    """(H, W, 3) uint8 RGB of anything a Predictor takes.

    Arrays are (H, W), (H, W, 1), (H, W, 3) or (H, W, 4) uint8; tensors (3, H, W) or (1, H, W), uint8 or float in 0..1.
    Raises ShapeError for another shape, dtype or range, NoSuchPath, DataError for a file that cannot be read.
    """
    if isinstance(picture, str | Path):
        return read_image(require_path(Path(picture), "a picture file"))
    if isinstance(picture, PILImage.Image):
        return _from_pil(picture)
    if isinstance(picture, torch.Tensor):
        return _from_tensor(picture)
    if isinstance(picture, np.ndarray):
        return _from_array(picture)
    raise ShapeError(
        f"a picture came as {type(picture).__name__}; pass a path, PIL picture, uint8 array or (3, H, W) tensor"
    )


def _from_pil(picture: PILImage.Image) -> Image:
    if picture.mode in ("F", "I") or picture.mode.startswith("I;"):
        raise ShapeError(
            f"a PIL picture of mode {picture.mode}; convert it to 8-bit grey or RGB first, or pass its path"
        )
    return np.array(ImageOps.exif_transpose(picture).convert("RGB"))


def _from_array(array: np.ndarray[Any, Any]) -> Image:
    grey = array[..., None] if array.ndim == 2 else array
    if array.dtype != np.uint8:
        raise ShapeError(
            f"a picture array of dtype {array.dtype}; expected uint8 0..255, RGB: scale and convert it first"
        )
    if grey.ndim != 3 or grey.shape[2] not in (1, 3, 4) or 0 in grey.shape:
        hint = "; it looks channels-first: pass array.transpose(1, 2, 0)" if array.ndim == 3 and len(array) == 3 else ""
        raise ShapeError(f"a picture array of shape {array.shape}; expected (H, W, 3) or (H, W), H and W >= 1{hint}")
    return np.ascontiguousarray(np.repeat(grey, 3, axis=2) if grey.shape[2] == 1 else grey[..., :3])


def _from_tensor(tensor: torch.Tensor) -> Image:
    tensor = tensor.detach().cpu()
    if tensor.ndim != 3 or tensor.shape[0] not in (1, 3) or 0 in tensor.shape:
        raise ShapeError(f"a picture tensor of shape {tuple(tensor.shape)}; expected (3, H, W), one picture at a time")
    if tensor.is_floating_point():
        low, high = float(tensor.min()), float(tensor.max())
        if not (low >= -1e-3 and high <= 1 + 1e-3):
            raise ShapeError(
                f"a float picture with values {low:.3g}..{high:.3g}; expected 0..1 without mean subtraction"
            )
        tensor = (tensor.float() * 255).round().clamp(0, 255).to(torch.uint8)
    if tensor.dtype != torch.uint8:
        raise ShapeError(f"a picture tensor of dtype {tensor.dtype}; expected uint8 0..255 or float 0..1")
    return _from_array(tensor.permute(1, 2, 0).contiguous().numpy())
