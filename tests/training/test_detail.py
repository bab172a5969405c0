"""How far labels may be shrunk: thin classes ask for large pictures, coarse ones do not."""

from dataclasses import replace

import numpy as np
import pytest

from denselab.config import make_settings
from denselab.data import Dataset
from denselab.training import detail
from denselab.training.detail import Detail, find_detail
from denselab.training.recipe import CPU_AREA, MOST_FINER, Facts, choose_recipe
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
    worst = detail._worst_class([stripes(1)], 0.5, 2, 255)
    assert worst is not None
    assert worst[0] == 1
    assert worst[1] <= 0.5
    thick = find_detail(data_of(tiny_data, stripes(16)), items)
    assert thick is not None
    assert (thick.factor, thick.kept) == (0.125, 1.0)


def test_a_class_of_a_few_pixels_is_not_judged(tiny_data: Dataset) -> None:
    labels = np.zeros((128, 128), np.uint8)
    labels[5, :3] = 1
    found = find_detail(data_of(tiny_data, labels), tiny_data.of_split("train"))
    assert found is not None
    assert found.factor == 0.125
    assert find_detail(data_of(tiny_data, labels[:2, :2]), tiny_data.of_split("train")) is None


def test_what_is_ignored_is_no_loss(tiny_data: Dataset) -> None:
    ignore = tiny_data.label_space.ignore_index
    labels = np.where(stripes(1) == 1, ignore, 0).astype(np.uint8)
    found = find_detail(data_of(tiny_data, labels), tiny_data.of_split("train"))
    assert found is not None
    assert found.factor == 0.125


def test_it_looks_at_a_bounded_number_of_pixels(tiny_data: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detail, "PIXELS", 512 * 128)
    maps = detail._some_maps(data_of(tiny_data, stripes(4)), tiny_data.of_split("train"))
    assert len(maps) == 2, "the map that passes the limit is the last"


@pytest.mark.parametrize(
    ("factor", "area", "why"),
    [
        (0.125, CPU_AREA, "what a CPU trains"),
        (0.7, 0.49 * 360 * 480, "below this size 'pole' would be lost: 82% of it is left here"),
        (1.0, MOST_FINER * CPU_AREA, "'pole' needs still larger pictures"),
    ],
)
def test_pictures_are_not_shrunk_below_what_the_thinnest_class_needs(factor: float, area: float, why: str) -> None:
    facts = Facts(367, (360, 480), 11, "cpu", cores=2, normalised=True, score_inputs=256)
    facts = replace(facts, detail=Detail(factor, "pole", 0.82))
    config, choices = choose_recipe(make_settings({"data": "d", "epochs": 1}), facts, None)
    assert 0.85 * area < config.imgsz[0] * config.imgsz[1] <= area
    assert why in next(choice.reason for choice in choices if choice.key == "imgsz")
    gpu, _ = choose_recipe(make_settings({"data": "d", "epochs": 1}), replace(facts, device="cuda"), None)
    assert gpu.imgsz == (352, 480)
