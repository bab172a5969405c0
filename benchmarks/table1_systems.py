"""The systems of DeconvNet's Table 1 as `table1.py` trains and scores them, and the published figures beside them.

Noh, Hong, Han, "Learning Deconvolution Network for Semantic Segmentation", ICCV 2015, arXiv 1505.04366, Table 1. A
system is one network or two, trained by itself, and a way of running it. Systems share networks: DeconvNet with and
without the CRF, and both forms of EDeconvNet, stand on one DeconvNet; EDeconvNet takes the FCN-8s of its own row.

Two sizes. "paper": the papers' networks on VGG-16 with ImageNet weights, for a GPU. "thin": for a CPU, on one small
encoder whose ImageNet weights a package brings, for every system that can stand on it. DeconvNet and Zoomout are
VGG-16 by their design and stay on it, DeconvNet with a quarter of the channels in fc6 and fc7; `vgg` gives all of
VGG-16's networks one start.
"""

from dataclasses import dataclass, replace
from typing import Any, Literal

from denselab.comparison.published import TABLE_1, Published
from denselab.inference.instances import PRESETS, InstanceWise
from denselab.models import MODELS

Size = Literal["thin", "paper"]
Settings = dict[str, Any]

VGG = "vgg16"
THIN_ENCODER = "tf_efficientnet_lite0"
BOX = (224, 224)  # what DeconvNet and Hypercolumn see of a box

# What a run has where neither the user nor its network says otherwise. time: of each network.
DEFAULTS: dict[Size, Settings] = {
    "thin": {"time": "10m", "imgsz": "192x256", "batch": 4, "strong": 4, "pretrained": "auto"},
    "paper": {"time": "2h", "imgsz": "360x480", "batch": 8, "strong": 100, "pretrained": "yes"},
}

# One table for all figures of others. Nine rows are in the package, where `compare` puts them beside one's own; the two
# with more annotations than VOC's are here. WSSL's setting is not told; BoxSup's has VOC's masks and COCO's boxes.
EXTRA_ANNOTATIONS = {
    "WSSL": "93.2 85.3 36.2 84.8 61.2 67.5 84.7 81.4 81.0 30.8 73.8 53.8 77.5 76.5 82.3 81.6 56.3 78.9 52.3 76.6 63.3 "
    "70.4",
    "BoxSup": "93.6 86.4 35.5 79.7 65.2 65.2 84.3 78.5 83.7 30.5 76.2 62.6 79.3 76.1 82.1 81.3 57.0 78.2 55.0 72.5 "
    "68.1 71.0",
}


def published() -> dict[str, Published]:
    """Every row of Table 1 by its name there: IoU in per cent by VOC's 21 classes, and their mean."""
    found = {row.name: row for row in TABLE_1.rows}
    for name, numbers in EXTRA_ANNOTATIONS.items():
        *classes, mean = map(float, numbers.split())
        found[name] = Published(name, tuple(classes), mean)
    return found


PUBLISHED = published()
SOURCE = (
    "Published: Noh, Hong and Han 2015, Table 1; PASCAL VOC 2012 test, scored by the benchmark's server. WSSL and "
    "BoxSup had annotations of COCO too. Another protocol: not comparable number by number."
)
NAMES_THERE = {"FCN-8s": "FCN8s", "WSSL (boxes)": "WSSL", "WSSL (tags)": "WSSL"}


def published_row(row: str) -> Published:
    """The published row that stands beside one of ours."""
    return PUBLISHED[NAMES_THERE.get(row, row)]


@dataclass(frozen=True)
class System:
    """One network or two, and how they are run.

    rows: of the table. Two: without and with the CRF, from one measurement.
    networks: names in `networks`, trained if they are not there yet.
    crf: a preset of the dense CRF; None: none.
    instances: how pictures are run box by box; None: as a whole.
    join: of two networks, as `evaluate_ensemble` takes it.
    note: what differs from the paper's system beyond what the network's own file says.
    """

    rows: tuple[str, ...]
    networks: tuple[str, ...]
    note: str
    crf: str | None = None
    instances: InstanceWise | None = None
    join: str = ""


def networks(size: Size, background: bool, strong: int, pretrained: str, vgg: str | None = None) -> dict[str, Settings]:
    """The settings of training by network; `time`, `imgsz`, `batch` and `seed` are added where they are not named.

    background: whether a class of the data is background; without one no object can be pasted on it.
    strong: pictures that keep their masks beside tags.
    pretrained: where the trunks start; ImageNet's features may only be kept as they are if there are any.
    vgg: where those start that are VGG-16, if elsewhere: what `pretrained` takes, such as a file.
    """
    trunks = _thin() if size == "thin" else _paper(background)
    base = trunks.pop("weak")
    kept = {"encoder_lr_factor": 0.0} if (vgg or pretrained) not in ("auto", "no") else {}
    found = {
        **trunks,
        "zoomout": {**trunks["zoomout"], "class_weights": "inverse", "losses": ({"name": "cross-entropy"},), **kept},
        "wssl-boxes": {**base, "labels": "boxes", "box_method": "seg"},
        "wssl-tags": {**base, "labels": "tags", "tag_method": "em-adapt", "strong": strong},
        "boxsup": {**base, "labels": "boxes", "box_method": "boxsup"},
    }
    return {name: {**own, "pretrained": vgg} if vgg and is_vgg(own) else own for name, own in found.items()}


def is_vgg(network: Settings) -> bool:
    """Whether the trunk of a network is the plain VGG-16."""
    return (network.get("encoder") or MODELS[network["model"]].default_encoder) == VGG


def _thin() -> dict[str, Settings]:
    """For a CPU; "weak": the network that WSSL and BoxSup teach."""
    deeplab = {"model": "deeplabv3", "encoder": THIN_ENCODER}
    return {
        "hypercolumn": {"model": "hypercolumn_dense", "encoder": THIN_ENCODER},
        # the recipe holds the rate down for wide sums like fc6's, which at its rate learns nothing in minutes (log.md)
        "cfm": {"model": "msra_cfm", "encoder": THIN_ENCODER, "batch": 2, "lr": 1e-3},
        "fcn8s": {"model": "fcn8s", "encoder": THIN_ENCODER},
        "zoomout": {"model": "zoomout16", "batch": 2, "validations": 1},
        "deeplab": deeplab,
        "weak": deeplab,
        # 82 M parameters: a save is over 1 GB; batch 1 leaves fc6 no variance; each validation runs all crops of val
        "deconvnet": {
            "model": "deconvnet_1024",
            "stages": True,
            "imgsz": BOX,
            "batch": 2,
            "validations": 1,
            "save_every": "10m",
        },
    }


def _paper(background: bool) -> dict[str, Settings]:
    """For a GPU, as the papers have them."""
    boxes = {"stages": True, "imgsz": BOX}
    dense = {"model": "hypercolumn_dense", "encoder": "vgg16"}
    return {
        "hypercolumn": {"model": "hypercolumn", "encoder": "vgg16", **boxes} if background else dense,
        "cfm": {"model": "msra_cfm", "encoder": "vgg16", "batch": 4},
        "fcn8s": {"model": "fcn8s", "encoder": "vgg16", "stages": True},
        "zoomout": {"model": "zoomout16", "batch": 4, "bn_statistics": "cumulative"},
        "deeplab": {"model": "deeplab_msc_largefov", "encoder": "vgg16"},
        "weak": {"model": "deeplab_largefov", "encoder": "vgg16"},
        "deconvnet": {
            **boxes,
            "model": "deconvnet",
            "stage_proposals": "edgeboxes",
            "bn_statistics": "cumulative",
            "save_every": "10m",
        },
    }


def systems(size: Size, background: bool) -> tuple[System, ...]:
    """Every system, in the order of Table 1."""
    # The whole picture is one more box: else a pixel in no box has no answer, or background, which not all data have.
    boxes = replace(PRESETS["paper"], whole=True)
    if size == "thin":
        boxes = replace(boxes, proposals="windows", boxes=20)
    thin = size == "thin"
    dense = thin or not background
    pasted = InstanceWise("edgeboxes", "paste", 50)
    v3 = "DeepLab v3 in place of v1, which stands on VGG-16 alone; " if thin else ""
    own = "no thin form: VGG-16's trunk; " if thin else ""
    windows = "windows in place of edge boxes" if thin else "edge boxes on our own edge maps"
    return (
        System(
            ("Hypercolumn",),
            ("hypercolumn",),
            "whole pictures, one classifier (dense form)" if dense else "no detector; edge boxes in place of MCG",
            instances=None if dense else pasted,
        ),
        System(
            ("MSRA-CFM",),
            ("cfm",),
            f"design {'B in place of A' if thin else 'A'}; selective search in place of MCG; one scale",
        ),
        System(("FCN-8s",), ("fcn8s",), "trained at once, not in stages" if thin else ""),
        System(("TTI-Zoomout-16",), ("zoomout",), own + "sub-scenes pooled from the picture's own map"),
        System(
            ("DeepLab-CRF",), ("deeplab",), v3 + "the CRF's published parameters, not tuned on these data", "deeplab_v1"
        ),
        System(("WSSL (boxes)",), ("wssl-boxes",), v3 + "boxes alone, cut out by a CRF; no COCO", "deeplab_v1"),
        System(("WSSL (tags)",), ("wssl-tags",), v3 + "tags and a few masks; no COCO", "deeplab_v1"),
        System(("BoxSup",), ("boxsup",), v3 + "boxes alone; selective search in place of MCG; no COCO", "deeplab_v1"),
        System(("DeconvNet", "DeconvNet+CRF"), ("deconvnet",), own + windows, "deconvnet", boxes),
        System(
            ("EDeconvNet", "EDeconvNet+CRF"), ("deconvnet", "fcn8s"), own + windows, "deconvnet", boxes, "edeconvnet"
        ),
    )


ROWS = tuple(row for system in systems("paper", True) for row in system.rows)
