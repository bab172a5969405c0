"""Data sets of others: odd pictures, annotations that claim or reach too far, pipes, names, closed folders."""

import base64
import ctypes
import json
import os
import struct
import unicodedata
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image

from reliability import lab
from reliability.lab import Check
from reliability.material import Bench, data_with, picture, png_that_claims, training


def data(bench: Bench) -> Iterator[Check]:
    """What is odd is said, what is hostile refused within seconds, and no data set is written to."""
    yield from _odd_pictures(bench)
    yield from _pipes(bench)
    yield from _annotations(bench)
    yield from _names(bench)
    yield from _access(bench)
    yield from _untouched(bench)


def _check(bench: Bench, data: Path, name: str, *words: str, codes: tuple[int, ...] = (3,)) -> Iterator[Check]:
    """`denselab check`: its exit code, that one of the words is said, and that memory stays small."""
    ended = lab.run(["check", data, "--out", bench.fresh("sheet")], seconds=20)
    said = not words or any(word in (ended.out + ended.err).lower() for word in words)
    yield Check(f"check, {name}", ended.code in codes and ended.in_words and said, f"{ended}; wanted: {words}")
    yield Check(f"check, {name}: below 1 GB more", ended.peak < 1000 + lab.own_peak(), str(ended))


def _noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def _save_tiff(path: Path, channels: int) -> None:
    tifffile.imwrite(path, _noise(48, 64, channels), photometric="minisblack", planarconfig="contig")


def _animate(path: Path) -> None:
    frames = [Image.fromarray(_noise(48, 64, 3) // i) for i in (1, 2, 3)]
    frames[0].save(path, save_all=True, append_images=frames[1:])


def _odd_pictures(bench: Bench) -> Iterator[Check]:
    forms: dict[str, tuple[str, Callable[[Path], object], tuple[str, ...]]] = {
        "a TIFF of 5 channels": ("tif", lambda p: _save_tiff(p, 5), ("channel", "band")),
        "a TIFF of 2 channels": ("tif", lambda p: _save_tiff(p, 2), ("channel", "band", "alpha")),
        "alpha in one of twelve": ("png", lambda p: Image.fromarray(_noise(48, 64, 4)).save(p), ("alpha",)),
        "an animated WEBP": ("webp", _animate, ("animation",)),
        "an animated PNG": ("png", _animate, ("animation",)),
    }
    for name, (suffix, make, words) in forms.items():
        odd = data_with(bench, "odd")
        path = sorted((odd / "images" / "train").iterdir())[8]
        path.unlink()
        make(path.with_suffix(f".{suffix}"))
        yield from _check(bench, odd, name, *words, codes=(0, 3))
        if "animated" in name:
            ended = lab.run(["predict", bench.run, odd / "images", "--out", bench.fresh("o")])
            yield Check(f"predict, {name}", ended.code == 4 and "animation" in ended.err, str(ended))


def _pipes(bench: Bench) -> Iterator[Check]:
    for name in ("train.txt", "classes.txt", "labels.json", "a.xml"):
        odd = data_with(bench, "pipes")
        os.mkfifo(odd / name)
        yield from _check(bench, odd, f"a pipe called {name}", name)
    for folder, more in (("images", ()), ("labels", ("--dry-run",))):
        odd = data_with(bench, "pipes")
        for path in sorted((odd / folder / "train").iterdir())[:5]:
            path.unlink()
            os.mkfifo(path)
        ended = lab.run(["train", odd, "--out", bench.fresh("t"), *training(1, 1), *more], seconds=20)
        yield Check(f"train, 5 pipes among {folder} {' '.join(more)}", ended.code == 3 and ended.in_words, str(ended))
    image, probs, pipe = sorted((bench.data / "images" / "val").iterdir())[0], bench.root / "p.npy", bench.root / "pipe"
    np.save(probs, np.full((2, 48, 64), 0.5, np.float32))
    os.mkfifo(pipe)
    ended = lab.run(["refine", image, probs, "--labels", pipe, "--out", bench.fresh("r")], seconds=20)
    yield Check("refine --labels PIPE", ended.code in (2, 3, 6) and ended.in_words, str(ended))


def _coco(root: Path, text: str | None = None, side: int = 20_000) -> None:
    picture(root / "images" / "p1.png")
    images = [{"id": 1, "file_name": "p1.png", "width": side, "height": side}]
    outline = {"id": 1, "image_id": 1, "category_id": 1, "segmentation": [[0, 0, 9, 0, 9, 9]], "area": 40, "iscrowd": 0}
    document = {"images": images, "categories": [{"id": 1, "name": "a"}], "annotations": [outline]}
    (root / "annotations.json").write_text(json.dumps(document) if text is None else text)


def _runs(height: int, counts: list[int], twice: bool = False) -> str:
    """A COCO document with one mask, which claims a height; twice: whether its picture's id is that of another too."""
    images = [{"id": 1, "file_name": name, "width": 64, "height": 48} for name in ("p1.png", "p2.png")[: 1 + twice]]
    width = 64 if height == 48 else height
    mask = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [0, 0, 64, 48], "iscrowd": 0}
    mask["segmentation"] = {"size": [height, width], "counts": counts}
    return json.dumps({"images": images, "categories": [{"id": 1, "name": "a"}], "annotations": [mask]})


def _supervisely(root: Path) -> None:
    packer = zlib.compressobj(1)
    packed = b"".join(packer.compress(bytes(2**26)) for _ in range(24)) + packer.flush()
    bitmap = {"data": base64.b64encode(packed).decode(), "origin": [0, 0]}
    thing = {"classTitle": "a", "geometryType": "bitmap", "bitmap": bitmap}
    picture(root / "ds" / "img" / "p1.png")
    (root / "ds" / "ann").mkdir(parents=True)
    (root / "meta.json").write_text(json.dumps({"classes": [{"title": "a"}]}))
    told = {"size": {"height": 48, "width": 64}, "tags": [], "objects": [thing]}
    (root / "ds" / "ann" / "p1.png.json").write_text(json.dumps(told))


def _panoptic(root: Path) -> None:
    picture(root / "images" / "a.png", 4, 4)
    (root / "annotations" / "panoptic_train").mkdir(parents=True)
    picture(root.parent / "secret.png", 4, 4)
    named = {"image_id": 1, "file_name": "../../../secret.png", "segments_info": [{"id": 1, "category_id": 1}]}
    images = [{"id": 1, "file_name": "a.png", "width": 4, "height": 4}]
    document = {"images": images, "categories": [{"id": 1, "name": "a"}], "annotations": [named]}
    (root / "annotations" / "panoptic_train.json").write_text(json.dumps(document))


def _labelme(root: Path, kind: str) -> None:
    picture(root / "p1.png")
    shape: dict[str, object] = {"label": "a", "points": [[0, 0], [9, 9]], "shape_type": "rectangle"}
    if kind == "mask":
        import base64

        shape |= {"shape_type": "mask", "mask": base64.b64encode(png_that_claims(40_000, 40_000)).decode()}
    size = {"imageWidth": 64, "imageHeight": 48} if kind == "mask" else {"imageWidth": 20_000, "imageHeight": 20_000}
    (root / "p1.json").write_text(json.dumps({"imagePath": "p1.png", "imageData": None, "shapes": [shape], **size}))


def _web_labelme(root: Path, kind: str) -> None:
    picture(root / "Images" / "s" / "a.png")
    (root / "Masks" / "s").mkdir(parents=True)
    (root / "Annotations" / "s").mkdir(parents=True)
    name = "../../../secret.png" if kind == "outside" else "mask.png"
    if kind == "pipe":
        os.mkfifo(root / "Masks" / "s" / name)
    elif kind == "bomb":
        (root / "Masks" / "s" / name).write_bytes(png_that_claims(40_000, 40_000))
    shape = f"<object><name>x</name><deleted>0</deleted><segm><mask>{name}</mask></segm></object>"
    size = "<imagesize><nrows>48</nrows><ncols>64</ncols></imagesize>"
    (root / "Annotations" / "s" / "a.xml").write_text(
        f"<annotation><filename>a.png</filename>{size}{shape}</annotation>"
    )


def _cvat(root: Path, shape: str) -> None:
    picture(root / "images" / "a.png")
    (root / "annotations.xml").write_text(
        f'<annotations><image id="0" name="a.png" width="64" height="48">{shape}</image></annotations>'
    )


def _annotations(bench: Bench) -> Iterator[Check]:
    box = '<mask label="x" rle="{}" left="0" top="0" width="{}" height="{}" z_order="0"/>'
    kinds: dict[str, tuple[Callable[[Path], object], str]] = {
        "COCO of 20,000 x 20,000": (_coco, "20000"),
        "COCO of depth 100,000": (lambda root: _coco(root, "[" * 100_000), "annotations.json"),
        "COCO run lengths of 10^18 pixels": (lambda root: _coco(root, _runs(10**9, [0, 10**18])), "1000000000"),
        "COCO run lengths below 0": (lambda root: _coco(root, _runs(48, [-5, 3077])), "negative"),
        "COCO run lengths whose sum overflows": (lambda root: _coco(root, _runs(48, [2**62] * 4 + [3072])), "a run of"),
        "COCO, two pictures of one id": (lambda root: _coco(root, _runs(48, [0, 3072], twice=True)), "same id"),
        "Supervisely bitmap that unpacks to 1.6 GB": (_supervisely, "unpacks"),
        "panoptic file outside": (_panoptic, "outside"),
        "LabelMe of 20,000 x 20,000": (lambda root: _labelme(root, "size"), "20000"),
        "LabelMe mask of 40,000 x 40,000": (lambda root: _labelme(root, "mask"), "p1.json"),
        "LabelMe xml, mask outside": (lambda root: _web_labelme(root, "outside"), "outside"),
        "LabelMe xml, mask is a pipe": (lambda root: _web_labelme(root, "pipe"), "pipe"),
        "LabelMe xml, mask is a bomb": (lambda root: _web_labelme(root, "bomb"), "pixels"),
        "CVAT mask of 10^12 pixels": (lambda root: _cvat(root, box.format("0,1000000000000", 8, 8)), ""),
        "CVAT mask of 10^5 x 10^5": (lambda root: _cvat(root, box.format("0,10000000000", 10**5, 10**5)), ""),
    }
    for name, (make, word) in kinds.items():
        root = bench.fresh("annotated") / "inner" / "set"
        root.mkdir(parents=True)
        make(root)
        yield from _check(bench, root, name, word)


def _names(bench: Bench) -> Iterator[Check]:
    for kind, stem in {"newline": "a\nERROR all is lost", "terminal": "a\x1b[2J\x1b[31m", "markup": "a:car:b"}.items():
        odd = data_with(bench, "named")
        (odd / "images" / "train" / f"{stem}.png").write_bytes(b"")
        ended = lab.run(["predict", bench.run, odd / "images", "--out", bench.fresh("o")])
        text = ended.out + ended.err
        yield Check(f"predict, a file name with {kind}", ended.code == 4 and not _acts(text), str(ended))
        yield Check(f"predict, a file name with {kind}: shown", kind != "markup" or ":car:" in text, str(ended))
    odd = data_with(bench, "named")
    classes = [
        {"id": i, "name": n} for i, n in enumerate(["=cmd|'/C calc'!A0", "a\x1b[2Jb", "c\nERROR all is lost", "d"])
    ]
    (odd / "data.yaml").write_text(json.dumps({"labels": classes}))
    out = bench.fresh("o")
    for words in (["check", odd, "--out", bench.fresh("sheet")], ["train", odd, "--out", out, *training(1, 1)]):
        ended = lab.run(words)
        held = ended.code in (0, 3) and ended.in_words and not _acts(ended.out + ended.err)
        yield Check(f"{words[0]}, hostile class names", held, str(ended))
    tables = [path for path in out.rglob("*.csv") if any(c.startswith("=") for c in _cells(path))]
    yield Check("no cell of a CSV is a formula", not tables, str(tables))
    odd = data_with(bench, "named")
    for folder in ("images", "labels"):
        path = sorted((odd / folder / "train").iterdir())[0]
        form = "NFC" if folder == "images" else "NFD"
        path.rename(path.with_name(unicodedata.normalize(form, "bäume.png")))
        path = sorted((odd / folder / "train").iterdir())[-1]
        path.rename(os.fsdecode(os.fsencode(path.parent) + b"/caf\xe9.png"))
    yield from _check(bench, odd, "NFC beside NFD", "12 train", codes=(0,))
    ended = lab.run(["train", odd, "--out", bench.fresh("o"), *training(1, 1)])
    yield Check("train, a name that is not UTF-8", ended.code in (0, 3) and ended.in_words, str(ended))


def _acts(text: str) -> bool:
    return "\x1b[2J" in text or any(line.startswith("ERROR all is lost") for line in text.splitlines())


def _cells(path: Path) -> list[str]:
    import csv

    with path.open(newline="", encoding="utf-8") as file:
        return [cell for row in csv.reader(file) for cell in row]


def _access(bench: Bench) -> Iterator[Check]:
    odd = data_with(bench, "closed")
    more = odd / "images" / "train" / "more"
    more.mkdir()
    picture(more / "a.png")
    more.chmod(0)
    for words in (
        ["check", odd, "--out", bench.fresh("sheet")],
        ["train", odd, "--out", bench.fresh("o"), *training(1, 1)],
    ):
        ended = lab.run(words, before=_without_privileges)
        said = "permission denied" in (ended.out + ended.err).lower()
        yield Check(f"{words[0]}, a folder of mode 000", ended.code == 3 and said, str(ended))
    more.chmod(0o700)


def _without_privileges() -> None:
    """Give up every capability of root, whom the mode of a folder would not stop (capabilities(7))."""
    head, none = struct.pack("Ii", 0x20080522, 0), bytes(24)
    if ctypes.CDLL(None).capset(head, none):
        raise OSError("capset")


def _untouched(bench: Bench) -> Iterator[Check]:
    data = data_with(bench, "untouched")
    image = sorted((data / "images" / "val").iterdir())[0]
    before = sorted(data.rglob("*"))
    for words in (
        ["predict", bench.run, data / "images", "--out", data / "images"],
        ["eval", bench.run, data, "--out", data / "e"],
        ["explain", bench.run, image, "--out", data / "x"],
        ["crf", "tune", bench.run, data, "--out", data / "t", "--time", "10s"],
        [
            "convert",
            bench.run / "model" / "model.safetensors",
            "--from",
            "torch",
            "--model",
            "pixelwise",
            "--out",
            data,
        ],
        ["train", data, "--out", data / "run", *training(1, 1)],
    ):
        ended = lab.run(words)
        held = ended.code == 2 and ended.in_words and sorted(data.rglob("*")) == before
        yield Check(f"{words[0]} --out below the data", held, str(ended))
