"""The canvas of the synthetic scenes: noise, masks and paint, and the paints that the classes share."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

SKY, GROUND, WATER, ROAD, BUILDING, TREE, VEHICLE, POLE, SIGN, VOID = 0, 1, 2, 3, 4, 5, 6, 7, 8, 255

# Paints that classes share, RGB 0..1; each scene picks among them for every class: no colour belongs to one class.
PAINTS = {
    "grey": (0.55, 0.55, 0.55), "slate": (0.45, 0.52, 0.60), "pale": (0.78, 0.80, 0.82), "azure": (0.52, 0.68, 0.85),
    "sand": (0.74, 0.66, 0.52), "brick": (0.62, 0.36, 0.28), "brown": (0.45, 0.36, 0.27), "olive": (0.47, 0.50, 0.28),
    "green": (0.30, 0.48, 0.25), "dusk": (0.85, 0.66, 0.52), "yellow": (0.80, 0.70, 0.25), "night": (0.28, 0.33, 0.42),
}  # fmt: skip
PAINTS_OF = {
    SKY: "azure pale slate dusk grey",
    GROUND: "green olive sand brown brick",
    WATER: "azure slate green night grey",
    ROAD: "grey slate brown sand night",
    BUILDING: "grey slate pale sand brick brown olive dusk azure",
    TREE: "green olive brown brick yellow",
    VEHICLE: "grey pale brick azure green yellow night slate",
    POLE: "grey pale brown night slate",
    SIGN: "brick azure yellow green pale",
}

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]


@dataclass
class Scene:
    """A picture being drawn.

    rng: for everything random in it
    image: (H, W, 3) float32, 0..1
    ids: (H, W) uint8
    light: (H, W) float32, a factor
    horizon: row
    unit: pixels per 1/96 of H
    """

    rng: np.random.Generator
    image: Floats
    ids: NDArray[np.uint8]
    light: Floats
    horizon: int
    unit: float

    @staticmethod
    def empty(rng: np.random.Generator, height: int, width: int) -> "Scene":
        horizon = int(height * rng.uniform(0.35, 0.6))
        blank = np.zeros((height, width, 3), np.float32)
        ids, light = np.zeros((height, width), np.uint8), np.ones((height, width), np.float32)
        return Scene(rng, blank, ids, light, horizon, height / 96)

    @property
    def size(self) -> tuple[int, int]:
        return self.ids.shape[0], self.ids.shape[1]

    def chance(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    def between(self, low: float, high: float) -> float:
        return float(self.rng.uniform(low, high))

    def paint(self, label: int) -> Floats:
        """A colour for a label: one of its paints, jittered."""
        name = str(self.rng.choice(PAINTS_OF[label].split()))
        colour = np.array(PAINTS[name]) * self.between(0.8, 1.15) + self.rng.normal(0, 0.03, 3)
        return colour.astype(np.float32)

    def noise(self, cell_y: float, cell_x: float) -> Floats:
        """(H, W) smooth noise of about unit variance whose lumps are cell_y x cell_x units large."""
        height, width = self.size
        rows = max(2, round(height / max(1.0, cell_y * self.unit)))
        columns = max(2, round(width / max(1.0, cell_x * self.unit)))
        coarse = self.rng.standard_normal((rows, columns), dtype=np.float32)
        resized = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
        return np.asarray(resized, dtype=np.float32)

    def fill(self, mask: Mask, label: int, colour: Floats, texture: Floats | float = 0.0) -> None:
        """Paint a region: colour (3,) times 1 + texture, and its label."""
        shade = 1.0 + (texture[mask][:, None] if isinstance(texture, np.ndarray) else texture)
        self.image[mask] = colour * shade
        self.ids[mask] = label

    def polygon(self, points: list[tuple[float, float]]) -> Mask:
        """(H, W) inside of a polygon of (x, y) corners."""
        canvas = Image.new("1", (self.size[1], self.size[0]))
        ImageDraw.Draw(canvas).polygon(points, fill=1)
        return np.array(canvas)

    def box(self, left: float, top: float, right: float, bottom: float) -> Mask:
        """(H, W) inside of a rectangle; at least one pixel wide and high where it lies in the picture."""
        mask = np.zeros(self.size, np.bool_)
        y, x = max(0, round(top)), max(0, round(left))
        mask[y : max(y + 1, round(bottom)), x : max(x + 1, round(right))] = right > 0 and bottom > 0
        return mask

    def discs(self, centres: list[tuple[float, float, float]]) -> Mask:
        """(H, W) union of discs (x, y, radius)."""
        canvas = Image.new("1", (self.size[1], self.size[0]))
        draw = ImageDraw.Draw(canvas)
        for x, y, radius in centres:
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=1)
        return np.array(canvas)

    def cast_shadow(self, x: float, y: float, length: float, thickness: float) -> None:
        """Darken a leaning ellipse on the ground to the right of (x, y)."""
        height, width = self.size
        rows, columns = np.ogrid[:height, :width]
        across = (columns - x - length / 2) / max(length / 2, 1)
        down = (rows - y) / max(thickness, 1)
        inside = across**2 + down**2 < 1
        self.light[inside] *= 0.6
