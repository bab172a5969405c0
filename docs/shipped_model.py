"""The small model of the package, trained anew on drawn scenes: what `denselab explain` shows without a MODEL.

    python docs/shipped_model.py [--epochs 12] [--run runs/shipped]

Weights of convolutions are stored as float16, which halves the folder; what that changes is printed.
"""

import argparse
from pathlib import Path

import numpy as np

import denselab as dl
from denselab.data.draw.synthetic import draw_scene
from denselab.engine.folder import config_bytes, load_engine
from denselab.engine.torch_engine import TorchEngine
from denselab.folders import write_folder
from denselab.inference import Predictor
from denselab.inspection.shipped import SHIPPED
from denselab.run_folder import CARD, MODEL_CONFIG, WEIGHTS, has_state
from denselab.tensors import pack_tensors

SETTINGS = {
    "model": "deeplabv3plus",
    "encoder": "test_efficientnet",
    "pretrained": "no",
    "imgsz": (96, 128),
    "settings": {"lr": 3e-3, "scale_min": 0.9, "scale_max": 1.25, "photometric": 0.3},  # as the demo's
}
MOST = 2_000_000  # bytes
UNSEEN = range(700_001, 700_021)  # numbers of scenes in no split
TEXT = """# A small DeepLabV3+ for drawn scenes

{parameters:,} parameters, trained by `make shipped-model` with {epochs} passes over 800 drawn scenes of 96x128.
It knows those scenes only: sky, ground, water, road, buildings, trees, vehicles, poles, signs.
`denselab explain --out look/` shows it at work. mIoU on held-out scenes: {score:.2f}.
"""


def main() -> None:
    """Train, or take the run that is there, and write the folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=12, help="passes over 800 scenes, some minutes in all")
    parser.add_argument("--run", type=Path, default=Path("runs/shipped"), help="where the run is kept")
    arguments = parser.parse_args()
    run: Path = arguments.run
    dl.train("synthetic:800", out=run, epochs=arguments.epochs, resume=has_state(run), **SETTINGS)
    engine = load_engine(run, "cpu")
    write_folder(SHIPPED, contents(engine, arguments.epochs))
    size = sum(path.stat().st_size for path in SHIPPED.iterdir())
    print(f"{SHIPPED}: {size:,} bytes; {agreement(engine, load_engine(SHIPPED, 'cpu')):.2%} of the pixels as before")
    if size > MOST:
        raise SystemExit(f"more than {MOST:,} bytes: take a thinner encoder")


def contents(engine: TorchEngine, epochs: int) -> dict[str, bytes]:
    """The files of the folder."""
    tensors = engine.network.state_dict()
    halved = {name: x.half() if x.dim() == 4 else x for name, x in tensors.items()}
    score = float(engine.spec.scores.get("miou", float("nan")))
    card = TEXT.format(parameters=sum(p.numel() for p in engine.network.parameters()), epochs=epochs, score=score)
    return {WEIGHTS: pack_tensors(halved), MODEL_CONFIG: config_bytes(engine.spec), CARD: card.encode()}


def agreement(first: TorchEngine, second: TorchEngine) -> float:
    """The share of pixels of unseen scenes that both label alike."""
    pictures = [draw_scene(number)[0] for number in UNSEEN]
    same = [np.mean(Predictor(first).labels(image) == Predictor(second).labels(image)) for image in pictures]
    return float(np.mean(same))


if __name__ == "__main__":
    main()
