"""The pictures of docs/crf.md: a drawn scene, coarse and noisy probabilities, and what each parameter of the CRF
does to them.

python docs/crf_pictures.py
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PILImage

from denselab.crf import Parameters, crf_for, refine, unary_from_probabilities
from denselab.data.draw.synthetic import SYNTHETIC_LABELS, draw_scene
from denselab.visualize import colour_map, encode_png, grid

OUT = Path(__file__).parent / "images" / "crf"
SCENE, SIZE = 100_003, (192, 256)
USUAL = Parameters(theta_alpha=40, theta_beta=13, w1=6, theta_gamma=3, w2=3, iterations=10, normalization="symmetric")

Picture = NDArray[np.uint8]
Probabilities = NDArray[np.float32]


def main() -> None:
    """Draw and write them all."""
    OUT.mkdir(parents=True, exist_ok=True)
    image, ids = draw_scene(SCENE, *SIZE)
    probabilities = coarse(ids)
    start = grid(
        [image, shown(probabilities), shown(refine(image, probabilities, USUAL))],
        ["picture", "arg-max of coarse, noisy probabilities", "after the CRF"],
    )
    sheets = {
        "start": start,
        "alpha": row(image, probabilities, "theta_alpha", (5, 20, 40, 120), "sxy (theta_alpha)"),
        "beta": row(image, probabilities, "theta_beta", (3, 8, 13, 60), "srgb (theta_beta)"),
        "weight": row(image, probabilities, "w1", (0, 2, 6, 30), "compat (w1)"),
        "gamma": row(image, probabilities, "theta_gamma", (1, 3, 8, 20), "w1 = 0; spatial sxy (theta_gamma)", w1=0.0),
        "iterations": iterations(image, probabilities),
    }
    for name, sheet in sheets.items():
        (OUT / f"{name}.png").write_bytes(encode_png(sheet))
        print(OUT / f"{name}.png")


def coarse(ids: Picture) -> Probabilities:
    """(K, H, W) as a network of stride 16 might give them: the truth averaged over 16x16 cells, noisy, enlarged."""
    classes = SYNTHETIC_LABELS.num_classes
    generator = np.random.default_rng(0)
    truth = (ids[None] == np.arange(classes)[:, None, None]).astype(np.float32)
    cells = truth.reshape(classes, SIZE[0] // 16, 16, SIZE[1] // 16, 16).mean(axis=(2, 4))
    cells = np.maximum(cells + generator.normal(0, 0.12, cells.shape), 0.02)
    maps = [
        PILImage.fromarray(cell.astype(np.float32)).resize(SIZE[::-1], PILImage.Resampling.BILINEAR) for cell in cells
    ]
    enlarged = np.stack([np.asarray(m, dtype=np.float32) for m in maps])
    return np.asarray(enlarged / enlarged.sum(axis=0), dtype=np.float32)


def shown(probabilities: Probabilities) -> Picture:
    """The arg-max in the classes' colours."""
    return colour_map(probabilities.argmax(axis=0).astype(np.uint8), SYNTHETIC_LABELS)


def row(
    image: Picture, probabilities: Probabilities, name: str, values: tuple[float, ...], caption: str, **others: float
) -> Picture:
    """One parameter at several values, the rest as usual."""
    pictures = [shown(refine(image, probabilities, replace(USUAL, **{**others, name: value}))) for value in values]
    return grid(pictures, [f"{caption} = {value}" if i == 0 else str(value) for i, value in enumerate(values)])


def iterations(image: Picture, probabilities: Probabilities) -> Picture:
    """The label map before the first and after some updates."""
    crf = crf_for(image, len(probabilities), USUAL)
    crf.set_unary(unary_from_probabilities(probabilities))
    marginals = list(crf.steps(10))
    chosen = (0, 1, 3, 10)
    return grid([shown(marginals[i]) for i in chosen], [f"after {i} updates" for i in chosen])


if __name__ == "__main__":
    main()
