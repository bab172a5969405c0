"""Procedurally drawn landscapes with exact labels: the embedded data set of `denselab demo` and of the tests.

No download, no assets: numpy and Pillow draw sky, ground, water, a road, buildings, trees, vehicles, poles with wires
and signs, back to front, then light, shadows, lens and sensor. The classes share their colours on purpose: a wall, a
car and a sign can have the same red, and a lake the colour of the sky. What tells them apart is texture, shape and
place. Signs and poles are rare and small: at 96 rows a pole is four to six pixels wide, a wire one.

How hard (96x128, 500 scenes, 100 held out): logistic regression on RGB reaches mIoU 0.11; a plain U-Net of 0.27 million
parameters 0.886 after 9,000 scenes (batch 8, AdamW, flips, class weights), from 0.74 for poles to 0.97 for sky.
"""

import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
import yaml
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from denselab.data.draw.scene_canvas import (
    BUILDING,
    GROUND,
    POLE,
    ROAD,
    SIGN,
    SKY,
    TREE,
    VEHICLE,
    VOID,
    WATER,
    Scene,
)
from denselab.data.draw.scene_things import draw_building, draw_pole, draw_tree, draw_vehicle, draw_wire
from denselab.errors import ConfigError, DataError
from denselab.labels import LabelEntry, LabelSpace

SYNTHETIC_LABELS = LabelSpace(
    (
        LabelEntry(SKY, "sky", (135, 190, 235)),
        LabelEntry(GROUND, "ground", (150, 170, 80)),
        LabelEntry(WATER, "water", (20, 110, 160)),
        LabelEntry(ROAD, "road", (128, 64, 128)),
        LabelEntry(BUILDING, "building", (175, 75, 60)),
        LabelEntry(TREE, "tree", (30, 110, 45)),
        LabelEntry(VEHICLE, "vehicle", (20, 30, 170)),
        LabelEntry(POLE, "pole", (190, 190, 190)),
        LabelEntry(SIGN, "sign", (250, 210, 0)),
        LabelEntry(VOID, "void", (0, 0, 0), role="ignore"),
    )
)

VAL_OFFSET = 500_000  # scene numbers of the val split start here, so that no train scene is a val scene
DRAWING = 2  # raise it when the drawing changes: folders of an older drawing are then drawn again


def draw_scene(seed: int, height: int = 96, width: int = 128) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """One picture with its labels: a pure function of its arguments.

    Returns image (H, W, 3) uint8 RGB and ids (H, W) uint8: ids of SYNTHETIC_LABELS, with VOID at ambiguous pixels.
    """
    if seed < 0 or height < 16 or width < 16:
        raise ConfigError(f"scene {seed} of {height}x{width}; the seed must be >= 0 and both sides >= 16 pixels")
    scene = Scene.empty(np.random.default_rng(seed), height, width)
    _draw_backdrop(scene)
    if scene.chance(0.45):
        _draw_water(scene)
    road = _draw_road(scene) if scene.chance(0.85) else None
    _draw_skyline(scene)
    _draw_objects(scene, road)
    return _photograph(scene), scene.ids


def _draw_backdrop(scene: Scene) -> None:
    """Sky with clouds above the horizon, rough ground below; the horizon rolls."""
    height = scene.size[0]
    rows = np.arange(height, dtype=np.float32)[:, None]
    clouds = (0.12 * np.tanh(2 * scene.noise(9, 24)) + 0.25 * (rows / height - 0.3)).astype(np.float32)
    everywhere = np.ones(scene.size, np.bool_)
    scene.fill(everywhere, SKY, scene.paint(SKY), clouds)
    roll = scene.noise(400, 40)[0] * 2.5 * scene.unit
    ground = rows > scene.horizon + roll[None, :]
    texture = 0.16 * scene.noise(1.3, 1.3) + 0.1 * scene.noise(12, 20)
    scene.fill(ground, GROUND, scene.paint(GROUND), texture)
    if scene.chance(0.6):  # a second kind of soil: large patches of another colour with the same label
        patch = ground & (scene.noise(14, 30) > 0.5)
        scene.fill(patch, GROUND, scene.paint(GROUND), texture)


def _draw_water(scene: Scene) -> None:
    """A lake on the ground: horizontal ripples, often in the colour of the sky or of the grass."""
    height, width = scene.size
    x, y = scene.between(0, width), scene.between(scene.horizon + 8 * scene.unit, height)
    reach_x, reach_y = scene.between(0.25, 0.55) * width, scene.between(0.1, 0.25) * height
    rows, columns = np.ogrid[:height, :width]
    shore = ((columns - x) / reach_x) ** 2 + ((rows - y) / reach_y) ** 2 + 0.25 * scene.noise(14, 14) < 1
    colour = scene.image[: scene.horizon // 2].mean((0, 1)) * 0.9 if scene.chance(0.4) else scene.paint(WATER)
    ripples = 0.13 * scene.noise(1.5, 13) + 0.05 * scene.noise(10, 30)
    scene.fill(shore & (scene.ids == GROUND), WATER, colour.astype(np.float32), ripples)


def _draw_road(scene: Scene) -> tuple[float, float, float]:
    """A road to a vanishing point, smooth, with a dashed line: (x at the horizon, x and width at the bottom)."""
    height, width = scene.size
    far, near = scene.between(0.2, 0.8) * width, scene.between(0.15, 0.85) * width
    broad = scene.between(0.3, 0.6) * width
    top = scene.horizon + 1
    mask = scene.polygon(
        [(far - 1, top), (far + 1, top), (near + broad / 2, height + 1), (near - broad / 2, height + 1)]
    )
    mask &= scene.ids != SKY
    scene.fill(mask, ROAD, scene.paint(ROAD), 0.03 * scene.noise(1, 1) + 0.05 * scene.noise(20, 20))
    position = scene.between(0, 0.1)
    while position < 1 and scene.chance(0.97):  # dashes belong to the road
        start, stop = position**1.5, min(1.0, position + 0.08) ** 1.5
        corners = []
        for depth, side in ((start, -1), (start, 1), (stop, 1), (stop, -1)):
            middle = far + (near - far) * depth
            corners.append((middle + side * 0.025 * broad * depth, top + (height - top) * depth))
        scene.image[scene.polygon(corners) & mask] = (0.85, 0.85, 0.8)
        position += 0.17
    return far, near, broad


def _draw_skyline(scene: Scene) -> None:
    """Buildings at the horizon, from left to right, some behind others."""
    width = scene.size[1]
    for _ in range(int(scene.rng.integers(0, 6))):
        draw_building(scene, scene.between(-0.1, 0.95) * width, scene.horizon + scene.between(0, 5) * scene.unit)


def _draw_objects(scene: Scene, road: tuple[float, float, float] | None) -> None:
    """Trees, vehicles, poles and signs standing on the ground, far ones first."""
    height, width = scene.size
    counts = {draw_tree: scene.rng.integers(0, 5), draw_pole: scene.rng.integers(0, 5)}
    counts[draw_vehicle] = scene.rng.integers(0, 4)
    standing = [(scene.between(0.03, 0.85) ** 1.3, draw) for draw, count in counts.items() for _ in range(int(count))]
    tops: list[tuple[float, float]] = []
    for depth, draw in sorted(standing, key=lambda item: item[0]):
        foot = scene.horizon + (height - scene.horizon) * depth
        x = scene.between(0, width)
        if draw is draw_vehicle and road is not None and scene.chance(0.85):
            far, near, broad = road
            x = far + (near - far) * depth + scene.between(-0.3, 0.3) * broad * depth
        top = draw(scene, x, foot, 0.85 + 0.6 * depth)
        if draw is draw_pole:
            tops.append(top)
    if len(tops) > 1 and scene.chance(0.15):
        draw_wire(scene, tops[0], tops[-1])


def _photograph(scene: Scene) -> NDArray[np.uint8]:
    """Light, haze, lens and sensor: (H, W, 3) uint8. A smudge on the lens hides what is behind it: void."""
    height, width = scene.size
    rows, columns = np.mgrid[-0.5 : 0.5 : height * 1j, -0.5 : 0.5 : width * 1j]
    angle = scene.between(0, 2 * np.pi)
    gradient = 1 + scene.between(0, 0.45) * (np.cos(angle) * columns + np.sin(angle) * rows)
    shadows = 1 - (1 - scene.light) * (scene.ids != SKY)
    tint = 1 + scene.rng.normal(0, 0.05, 3)
    image = scene.image * (gradient * shadows)[..., None] * tint * scene.between(0.75, 1.2)
    if scene.chance(0.15):
        x, y, radius = scene.between(0, width), scene.between(0, height), scene.between(3, 7) * scene.unit
        smudge = scene.discs([(x, y, radius)])
        image[smudge] = 0.3 * image[smudge] + 0.7 * image[smudge].mean(0, keepdims=True) if smudge.any() else 0
        scene.ids[smudge] = VOID
    image += scene.rng.normal(0, scene.between(0.005, 0.025), image.shape)
    picture = Image.fromarray((np.clip(image, 0, 1) * 255).round().astype(np.uint8))
    return np.asarray(picture.filter(ImageFilter.GaussianBlur(scene.between(0.1, 0.5) * scene.unit)))


def write_synthetic(
    root: Path, train: int = 400, val: int = 100, size: tuple[int, int] = (96, 128), seed: int = 0
) -> Path:
    """Write scenes as an ordinary folder data set (images/train, labels/train, ..., data.yaml) and return root.

    size: (H, W)

    All or nothing: the folder appears when it is complete. A folder written with the same arguments is reused, one that
    an older version drew with them is replaced; anything else at that place raises DataError and stays as it is.
    """
    if train < 1 or val < 0 or max(train, val) > VAL_OFFSET or seed < 0:
        raise ConfigError(f"{train} train and {val} val scenes with seed {seed}; use 1..{VAL_OFFSET}, 0.. and 0..")
    description = _data_yaml(train, val, size, seed)
    if _is_complete(root, description):
        return root
    root.parent.mkdir(parents=True, exist_ok=True)
    workshop = Path(tempfile.mkdtemp(prefix=f".{root.name}-", dir=root.parent))
    try:
        draft = workshop / "new"
        for split, first, count in (("train", 0, train), ("val", VAL_OFFSET, val)):
            _write_split(draft, split, range(first, first + count), size, seed)
        (draft / "data.yaml").write_text(description, encoding="utf-8")
        if root.exists() and not _is_complete(root, description):  # empty, or of an older drawing
            os.rename(root, workshop / "old")
        os.rename(draft, root)
    except OSError:
        if not _is_complete(root, description):  # otherwise another process was faster
            raise
    finally:
        shutil.rmtree(workshop, ignore_errors=True)
    return root


def _is_complete(root: Path, description: str) -> bool:
    """Whether root holds exactly these scenes; False for none or an older drawing, DataError for anything else."""
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return False
    stamp = root / "data.yaml"
    found = stamp.read_text(encoding="utf-8") if stamp.is_file() else ""
    if found == description:
        return True
    arguments, mark, _ = description.partition(", drawing ")
    if found.startswith(arguments + mark):
        return False
    raise DataError(f"{root} exists and does not hold these scenes; choose another folder or remove it yourself")


def _data_yaml(train: int, val: int, size: tuple[int, int], seed: int) -> str:
    scenes = f"{train} train, {val} val, {size[0]}x{size[1]}, seed {seed}, drawing {DRAWING}"
    head = f"# Synthetic scenes of DenseLab: {scenes}\n"
    return head + yaml.safe_dump({"labels": SYNTHETIC_LABELS.to_list()}, sort_keys=False, default_flow_style=None)


def _write_split(root: Path, split: str, numbers: range, size: tuple[int, int], seed: int) -> None:
    """PNG pictures and palette PNG labels (the index counts) of some scene numbers."""
    palette = np.zeros((256, 3), np.uint8)
    for entry in SYNTHETIC_LABELS.entries:
        palette[entry.id] = entry.colour
    for folder in ("images", "labels"):
        (root / folder / split).mkdir(parents=True)
    for number in numbers:
        image, ids = draw_scene(seed * 2 * VAL_OFFSET + number, *size)
        name = f"{number % VAL_OFFSET:05d}.png"
        Image.fromarray(image).save(root / "images" / split / name, compress_level=1)
        picture = Image.fromarray(ids)
        picture.putpalette(palette.tobytes())
        picture.save(root / "labels" / split / name, compress_level=1)
