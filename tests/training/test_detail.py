"""How far labels may be shrunk: thin classes ask for large pictures, coarse ones do not."""

from dataclasses import replace

import numpy as np
import pytest

from denselab.config import make_settings
from denselab.data import Dataset
from denselab.training import detail
from denselab.training.detail import Detail, find_detail
from denselab.training.recipe import CPU_AREA, Facts, choose_recipe
from denselab.types import LabelMap


class Drawn(Dataset):
    """A data set whose label maps are all the same one."""

    drawn: LabelMap

    def read_labels(self, item: object) -> LabelMap:
        return self.drawn


def data_of(tiny_data: Dataset, labels: LabelMap) -> Drawn:
    data = Drawn(**{name: getattr(tiny_data, name) for name in tiny_data.__dataclass_fields__})
    object.__setattr__(data, "drawn", labels)
    return data


def stripes(width: int) -> LabelMap:
    """512x128: class 1 in one stripe of this width in every 32 columns, beside class 0."""
    return np.tile((np.arange(128) % 32 < width).astype(np.uint8), (512, 1))


def test_thin_stripes_need_their_pixels(tiny_data: Dataset) -> None:
    """A stripe of 1 pixel vanishes at half the size or doubles, one of 16 is exact down to an eighth."""
    items = tiny_data.of_split("train")
    thin = find_detail(data_of(tiny_data, stripes(1)), items)
    assert thin is not None
    assert thin.factor == 0.75, "three of four columns are kept, and these stripes are among them"
    iou = detail._iou_at([stripes(1)], (256, 64), 2, 255)
    assert iou[1] <= 0.5 < iou[0]
    assert (thin.name, thin.kept) == (tiny_data.label_space.names[1], 1.0), "the class that half the size would cost"
    thick = find_detail(data_of(tiny_data, stripes(16)), items)
    assert thick is not None
    assert (thick.factor, thick.kept) == (0.375, 1.0), "no run is smaller than that"


def test_a_class_of_a_few_pixels_is_not_judged(tiny_data: Dataset) -> None:
    labels = np.zeros((128, 128), np.uint8)
    labels[5, :3] = 1
    found = find_detail(data_of(tiny_data, labels), tiny_data.of_split("train"))
    assert found is not None
    assert found.factor < 1, "not by the three pixels"
    assert find_detail(data_of(tiny_data, labels[:2, :2]), tiny_data.of_split("train")) is None


def test_what_is_ignored_is_no_loss(tiny_data: Dataset) -> None:
    ignore = tiny_data.label_space.ignore_index
    labels = np.where(stripes(1) == 1, ignore, 0).astype(np.uint8)
    found = find_detail(data_of(tiny_data, labels), tiny_data.of_split("train"))
    assert found is not None
    assert found.factor == 0.375


def test_a_few_small_dots_in_every_picture_are_judged(tiny_data: Dataset) -> None:
    """Eight dots of 3x3 in each of five pictures have 360 pixels: they were no class to heed, and vanished."""
    labels = np.zeros((256, 256), np.uint8)
    for row in range(8):
        labels[7 + 31 * row :, 11 + 29 * row :][:3, :3] = 1
    items = tiny_data.of_split("train")
    assert labels.sum() * len(items) < detail.SEEN
    found = find_detail(data_of(tiny_data, labels), items)
    assert found is not None
    assert found.factor >= 0.75
    assert found.name == tiny_data.label_space.names[1]


def test_large_areas_in_large_pictures_ask_for_no_size(tiny_data: Dataset) -> None:
    """Factors ended at an eighth: halves of 2000x3000 pictures were said to be lost below 240x368."""
    labels = np.zeros((2000, 3000), np.uint8)
    labels[:, 1500:] = 1
    found = find_detail(data_of(tiny_data, labels), tiny_data.of_split("train")[:1])
    assert found is not None
    assert found.pixels < CPU_AREA / 4


def test_large_areas_in_small_pictures_are_not_thin(tiny_data: Dataset) -> None:
    labels = np.zeros((100, 100), np.uint8)
    labels[:, 50:] = 1
    found = find_detail(data_of(tiny_data, labels), tiny_data.of_split("train"))
    assert found is not None
    assert found.factor == detail.COARSE


def test_larger_pictures_are_shrunk_more(tiny_data: Dataset) -> None:
    """Stripes of 4 are exact at half the size, but not where pictures fit into what suits smaller ones."""
    data = data_of(tiny_data, stripes(4))
    items = tiny_data.of_split("train")
    alone, among_smaller = find_detail(data, items), find_detail(data, items, (128, 32))
    assert alone is not None
    assert alone.factor <= 0.5
    assert among_smaller is not None
    assert among_smaller.factor > alone.factor


def test_it_looks_at_a_bounded_number_of_pixels(tiny_data: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detail, "PIXELS", 512 * 128)
    maps = detail._some_maps(data_of(tiny_data, stripes(4)), tiny_data.of_split("train"))
    assert len(maps) == 2, "the map that passes the limit is the last"


@pytest.mark.parametrize(
    ("factor", "area", "why"),
    [
        (0.125, CPU_AREA, "about 192x256 pixels: what a CPU trains at a useful rate"),
        (
            0.8,
            0.64 * 360 * 480,
            "smaller, 'pole' would lose over 15% of its IoU to the size alone; 0.82 is left at this one",
        ),
        (
            1.0,
            360 * 480,
            "smaller, 'pole' would lose over 15% of its IoU to the size alone; 0.82 is left at this one",
        ),
    ],
)
def test_pictures_are_not_shrunk_below_what_the_thinnest_class_needs(factor: float, area: float, why: str) -> None:
    """A run without a time said that the time was too short. Whatever the class needs, a step costs the same."""
    facts = Facts(367, (360, 480), 11, "cpu", cores=2, normalised=True, score_inputs=256)
    facts = replace(facts, detail=Detail(factor, "pole", 0.82, factor**2 * 360 * 480))
    config, choices = choose_recipe(make_settings({"data": "d", "epochs": 1}), facts, None)
    assert 0.85 * area < config.imgsz[0] * config.imgsz[1] <= area
    assert next(choice.reason for choice in choices if choice.key == "imgsz") == why
    assert config.crop == (None if factor < 0.5 else (192, 256))
    gpu, _ = choose_recipe(make_settings({"data": "d", "epochs": 1}), replace(facts, device="cuda"), None)
    assert (gpu.imgsz, gpu.crop) == ((352, 480), None)


@pytest.mark.parametrize("given", [{}, {"epochs": 3}, {"time": "10m"}])
@pytest.mark.parametrize("pictures", [12, 80])
def test_thin_things_are_not_shrunk(given: dict[str, object], pictures: int) -> None:
    """Cracks of two pixels in twelve pictures of 512x512 were trained on at 304x304, in a run of a minute."""
    facts = Facts(pictures, (512, 512), 2, "cpu", cores=2, normalised=True, score_inputs=256)
    facts = replace(facts, detail=Detail(1.0, "crack", 1.0, 512 * 512))
    config = choose_recipe(make_settings({"data": "d", **given}), facts, None)[0]
    assert (config.imgsz, config.crop) == ((512, 512), (208, 208))


def test_a_gpu_heeds_thin_classes_as_well() -> None:
    facts = Facts(367, (1024, 1024), 2, "cuda", cores=2, normalised=True, score_inputs=256)
    settings = make_settings({"data": "d", "epochs": 1})
    assert choose_recipe(settings, facts, None)[0].imgsz == (512, 512)
    fine, _ = choose_recipe(settings, replace(facts, detail=Detail(0.8, "crack", 0.9, 0.64 * 1024 * 1024)), None)
    assert (fine.imgsz, fine.crop) == ((816, 816), (512, 512))
