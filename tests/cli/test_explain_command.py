"""`denselab explain` as a function: the page, the pictures, and its refusals."""

import json
import re
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as PILImage

from denselab.cli.explain import SCENE, _named, explain
from denselab.data.draw.synthetic import SYNTHETIC_LABELS, draw_scene
from denselab.engine.folder import save_engine
from denselab.engine.spec import Architecture, ModelSpec, Preprocessing
from denselab.engine.torch_engine import TorchEngine
from denselab.errors import ConfigError, NoSuchPath, ResourceError
from denselab.inspection.explanation import Effect
from denselab.inspection.receptive import Box
from denselab.inspection.shipped import SHIPPED
from denselab.labels import LabelEntry, LabelSpace
from denselab.report.explain_pictures import effect_picture, heat_panel
from denselab.visualize import colour_map

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    names = ("sky", "road & <path>", "car")
    space = LabelSpace(tuple(LabelEntry(i, name, (90 * i, 40, 200 - 90 * i)) for i, name in enumerate(names)))
    architecture = Architecture("unet_small", 3)
    torch.manual_seed(0)
    engine = TorchEngine(
        ModelSpec(architecture, space, Preprocessing((32, 48), (0.5, 0.5, 0.5), (0.2, 0.2, 0.2))),
        architecture.create().eval(),
        torch.device("cpu"),
    )
    folder = tmp_path_factory.mktemp("runs") / "streets"
    save_engine(engine, folder / "model")
    return folder


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("photos") / "a photo.png"
    pixels = np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)
    PILImage.fromarray(pixels).save(path)
    return path


def test_the_page_and_its_pictures(run: Path, photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    explain(
        str(run), photo, out=tmp_path / "out", pixel="10, 20", class_name="road & <path>", device="cpu", as_json=True
    )
    facts = json.loads(capsys.readouterr().out)
    assert facts["random_weights"] is False
    assert (facts["working_size"], facts["pixel"], facts["class"]) == ([32, 48], [10, 20], "road & <path>")
    assert facts["receptive_field"] == 204
    assert [layer["path"] for layer in facts["layers"]]
    page = (tmp_path / "out" / "explain.html").read_text()
    for anchor in ("result", "probabilities", "layers", "field", "table"):
        assert f'href="#{anchor}"' in page
        assert f'id="{anchor}"' in page
    assert "road &amp; &lt;path&gt;" in page
    assert "road & <path>" not in page
    assert all(layer["path"] in page for layer in facts["layers"])
    assert not re.findall(r'(?:src|href)="(?!data:|#)', page), "everything is inside the file"
    files = {Path(path).name for path in facts["files"]}
    assert {"explain.html", "labels.png", "overlay.png", "probabilities.png", "receptive-field.png"} < files
    assert len([name for name in files if name.startswith("layer-")]) == len(facts["layers"])
    assert {path.name for path in (tmp_path / "out").iterdir()} == files
    with PILImage.open(tmp_path / "out" / "labels.png") as labels:
        assert labels.size == (60, 40)


def test_nothing_of_an_earlier_look_stays_and_everything_else_does(
    run: Path, photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """docs/look-inside.md explains six times into one folder: maps and probabilities of other networks stayed in it."""
    out = tmp_path / "out"
    explain(str(run), str(photo), out=out, proposals="windows", boxes=2, device="cpu")
    assert (out / "boxes.html").is_file()
    (out / "layer-01-mine.png").write_bytes(b"mine")
    capsys.readouterr()
    explain("segnet_basic", str(photo), out=out, device="cpu", as_json=True)
    files = {Path(path).name for path in json.loads(capsys.readouterr().out)["files"]}
    assert "probabilities.png" not in files
    assert {path.name for path in out.iterdir()} == {*files, "layer-01-mine.png"}


def test_a_name_shows_the_untrained_network_and_says_so(
    photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    explain("unet_small", photo, out=tmp_path, device="cpu")
    captured = capsys.readouterr()
    assert "its weights are random" in captured.err
    assert "explain.html and" in captured.out
    assert "The weights are random" in (tmp_path / "explain.html").read_text()


@pytest.mark.parametrize("pixel", ["5", "a,b", "1,2,3", "-1,4", "1.5,2"])
def test_pixels_that_are_none(pixel: str, run: Path, photo: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--pixel .*; write row,column"):
        explain(str(run), photo, out=tmp_path, pixel=pixel, device="cpu")


def test_what_cannot_be_read_or_written(run: Path, photo: Path, tmp_path: Path) -> None:
    with pytest.raises(NoSuchPath, match="none.png"):
        explain(str(run), tmp_path / "none.png", out=tmp_path, device="cpu")
    with pytest.raises(NoSuchPath, match="nothing"):
        explain(str(tmp_path / "nothing"), photo, out=tmp_path, device="cpu")
    (tmp_path / "file").write_text("")
    with pytest.raises(ResourceError):
        explain(str(run), photo, out=tmp_path / "file", device="cpu")


def test_the_receptive_field_is_drawn_where_it_is() -> None:
    """A frame inside the picture; one that reaches beyond it gets room; none for the whole picture."""
    working = np.full((40, 60, 3), 200, dtype=np.uint8)
    effect = np.zeros((40, 60), dtype=np.float32)
    effect[20, 30] = 1

    def drawn(box: Box | None) -> np.ndarray:
        return effect_picture(working, Effect((20, 30), 0, effect, box, (1, 1)))

    inside, beyond, everything = drawn(Box(10, 15, 30, 45)), drawn(Box(-5, 15, 30, 45)), drawn(None)
    assert inside.shape == everything.shape
    assert inside.shape[1] % 60 == 0
    factor = inside.shape[1] // 60
    assert not np.array_equal(inside, everything)
    np.testing.assert_array_equal(inside[: 9 * factor], everything[: 9 * factor])
    assert beyond.shape[0] / beyond.shape[1] > inside.shape[0] / inside.shape[1]


def test_a_flat_map_is_dark_and_has_no_division_by_zero() -> None:
    assert heat_panel(np.zeros((4, 6), dtype=np.float32)).max() < 10
    ramp = heat_panel(np.arange(8, dtype=np.float32).reshape(1, 8))
    assert ramp[0, 0].sum() < ramp[0, -1].sum()


def test_without_anything_it_shows_the_package_s_own_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A trained network on a scene that it never saw; and on a picture that is named alone."""
    explain(out=tmp_path / "scene", device="cpu", as_json=True)
    captured = capsys.readouterr()
    facts = json.loads(captured.out)
    assert "no MODEL: the small one of this package" in captured.err
    assert (facts["model"], facts["image"], facts["random_weights"]) == (str(SHIPPED), None, False)
    with PILImage.open(tmp_path / "scene" / "labels.png") as shown:
        told = np.asarray(shown.convert("RGB"))
    truth = colour_map(draw_scene(SCENE)[1], SYNTHETIC_LABELS)
    assert np.mean((told == truth).all(axis=2)) > 0.8, "it has learnt something"
    assert (tmp_path / "scene" / "probabilities.png").is_file()


def test_a_picture_alone_is_the_picture(photo: Path) -> None:
    assert _named(str(photo), None) == (str(SHIPPED), photo)
    assert _named("unet_small", None) == ("unet_small", None)
    assert _named(None, None) == (str(SHIPPED), None)
    with pytest.raises(NoSuchPath, match="a picture file"):
        _named("gone.jpg", None)


def test_the_package_s_model_is_small_and_reproducible() -> None:
    files = {path.name: path.stat().st_size for path in SHIPPED.iterdir()}
    assert set(files) == {"model.safetensors", "config.json", "README.md", "manifest.json"}
    assert sum(files.values()) < 2_000_000
    patterns = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]["denselab"]
    assert "inspection/scenes_model/*" in patterns
    assert "docs/shipped_model.py" in (ROOT / "Makefile").read_text()


def test_an_untrained_network_has_no_confidence(run: Path, photo: Path, tmp_path: Path) -> None:
    """Its softmax was drawn on a scale of its own, as if it told something of the picture."""
    explain("unet_small", photo, out=tmp_path, device="cpu")
    page = (tmp_path / "explain.html").read_text()
    assert "highest probability" not in page
    assert "the softmax of random scores tells nothing" in page
    assert not (tmp_path / "probabilities.png").exists()
    for arguments in ({"model": str(run), "against": "unet_small"}, {"model": "unet_small", "proposals": "windows"}):
        with pytest.raises(ConfigError, match="untrained networks have none"):
            explain(image=photo, out=tmp_path, device="cpu", **arguments)
