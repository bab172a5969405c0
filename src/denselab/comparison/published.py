"""Published rows that stand beside one's own table, where the classes are those of a benchmark.

They are never one's own protocol: VOC's were scored by the test server after training on VOC's own pictures,
CamVid's on its test split at 360x480. The notes say so, and go into every table.
"""

from collections.abc import Sequence
from dataclasses import dataclass

VOC = (
    *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)
CAMVID = (*("sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian", "bicyclist"),)
# Other names of the same classes: SegNet's tutorial, its paper, and the original 32 classes of CamVid.
SYNONYMS = {"signsymbol": "sign", "sidewalk": "pavement", "columnpole": "pole", "cyclist": "bicyclist"}


@dataclass(frozen=True)
class Published:
    """A row of a paper. classes: IoU in per cent, in the benchmark's order; () where only the mean was published."""

    name: str
    classes: tuple[float, ...]
    mean: float


@dataclass(frozen=True)
class Benchmark:
    """Published rows over the same classes. note: whose they are and how they were measured."""

    classes: tuple[str, ...]
    rows: tuple[Published, ...]
    note: str


def _voc(name: str, numbers: str) -> Published:
    *classes, mean = map(float, numbers.split())
    return Published(name, tuple(classes), mean)


# Noh, Hong, Han 2015 (arXiv 1505.04366), Table 1
TABLE_1 = Benchmark(
    VOC,
    (
        _voc("Hypercolumn", "88.9 68.4 27.2 68.2 47.6 61.7 76.9 72.1 71.1 24.3 59.3 44.8 62.7 59.4 73.5 70.6 52.0 63.0 "
             "38.1 60.0 54.1 59.2"),
        _voc("MSRA-CFM", "87.7 75.7 26.7 69.5 48.8 65.6 81.0 69.2 73.3 30.0 68.7 51.5 69.1 68.1 71.7 67.5 50.4 66.5 "
             "44.4 58.9 53.5 61.8"),
        _voc("FCN8s", "91.2 76.8 34.2 68.9 49.4 60.3 75.3 74.7 77.6 21.4 62.5 46.8 71.8 63.9 76.5 73.9 45.2 72.4 37.4 "
             "70.9 55.1 62.2"),
        _voc("TTI-Zoomout-16", "89.8 81.9 35.1 78.2 57.4 56.5 80.5 74.0 79.8 22.4 69.6 53.7 74.0 76.0 76.6 68.8 44.3 "
             "70.2 40.2 68.9 55.3 64.4"),
        _voc("DeepLab-CRF", "93.1 84.4 54.5 81.5 63.6 65.9 85.1 79.1 83.4 30.7 74.1 59.8 79.0 76.1 83.2 80.8 59.7 82.2 "
             "50.4 73.1 63.7 71.6"),
        _voc("DeconvNet", "92.7 85.9 42.6 78.9 62.5 66.6 87.4 77.8 79.5 26.3 73.4 60.2 70.8 76.5 79.6 77.7 58.2 77.4 "
             "52.9 75.2 59.8 69.6"),
        _voc("DeconvNet+CRF", "92.9 87.8 41.9 80.6 63.9 67.3 88.1 78.4 81.3 25.9 73.7 61.2 72.0 77.0 79.9 78.7 59.5 "
             "78.3 55.0 75.2 61.5 70.5"),
        _voc("EDeconvNet", "92.9 88.4 39.7 79.0 63.0 67.7 87.1 81.5 84.4 27.8 76.1 61.2 78.0 79.3 83.1 79.3 58.0 82.5 "
             "52.3 80.1 64.0 71.7"),
        _voc("EDeconvNet+CRF", "93.1 89.9 39.3 79.7 63.9 68.2 87.4 81.2 86.1 28.5 77.0 62.0 79.0 80.3 83.6 80.2 58.8 "
             "83.4 54.3 80.7 65.0 72.5"),
    ),
    "Published rows: Noh, Hong and Han 2015, Table 1; PASCAL VOC 2012 test, scored by the benchmark's server.",
)  # fmt: skip

# Badrinarayanan, Kendall, Cipolla (PAMI 2017): Table 1 (367 pictures, balanced) and Table 3 (3,433 pictures)
SEGNET = Benchmark(
    CAMVID,
    (
        Published("SegNet-Basic (367 pictures)", (), 47.7),
        Published("FCN-Basic (367 pictures)", (), 47.3),
        Published("SegNet (3,433 pictures)", (), 60.1),
        Published("DeepLab-LargeFOV (3,433 pictures)", (), 53.9),
        Published("FCN (3,433 pictures)", (), 49.8),
        Published("DeconvNet (3,433 pictures)", (), 59.8),
    ),
    "Published rows: Badrinarayanan, Kendall and Cipolla 2017, Tables 1 and 3; CamVid's test split at 360x480, trained "
    "on CamVid's 367 pictures, or on 3,433 of several sets.",
)
BENCHMARKS = (TABLE_1, SEGNET)


def benchmark_of(classes: Sequence[str]) -> Benchmark | None:
    """The benchmark with exactly these classes, whatever their order and case; None where there is none."""
    wanted = {_plain(name) for name in classes}
    return next((b for b in BENCHMARKS if {_plain(name) for name in b.classes} == wanted), None)


def in_order(row: Published, benchmark: Benchmark, classes: Sequence[str]) -> list[float | None]:
    """A published row's numbers in the order of these classes; None where only the mean was published."""
    if not row.classes:
        return [None] * len(classes)
    found = dict(zip((_plain(name) for name in benchmark.classes), row.classes, strict=True))
    return [found[_plain(name)] for name in classes]


def _plain(name: str) -> str:
    plain = "".join(letter for letter in name.casefold() if letter.isalnum())
    return SYNONYMS.get(plain, plain)
