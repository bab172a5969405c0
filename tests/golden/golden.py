"""What DenseLab computes, as arrays and documents by name: networks, predictions, scores, a resumed run, stored files.

Only the public surface is used (denselab.load, train, open_dataset, the command line), so that this file runs unchanged while
the insides move. Two readers reduce the values: `summaries` to a few numbers that hold on every CPU, which are stored in
values.json and compared by test_golden.py; `digests` to sha256 of the exact bytes, for one machine before and after a change.
"""

import contextlib
import hashlib
import importlib.util
import io
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import PIL.Image
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file
from torch import nn

import denselab
from denselab.cli.main import app
from denselab.data.draw.synthetic import write_synthetic

HERE = Path(__file__).resolve().parent
SAMPLES = 16  # numbers kept of a large array
PLACES = ("data", "model")  # of an evaluation: absolute paths
PRESETS = ("deeplab_v1", "deeplab_v2", "deconvnet", "pydensecrf")
SMALL = {"pretrained": "no", "imgsz": (32, 48), "batch": 4, "device": "cpu", "workers": 0, "seed": 3}

Array = NDArray[Any]
Values = dict[str, Any]
"""By "kind/what": arrays for the kinds logits, probs, uncertainty, labels, pixels and weights, plain data for the others."""


class Work(NamedTuple):
    """A scratch folder, the drawn scenes in it, and copies of the stored run and model, which may be changed."""

    folder: Path
    data: Path
    run: Path
    model: Path


def prepare(folder: Path) -> Work:
    """Draw 12 training and 4 validation scenes of 48x64 pixels, and copy what is stored beside this file."""
    torch.set_num_threads(1)  # how a sum is shared between threads moves its last bits
    data = write_synthetic(folder / "scenes", train=12, val=4, size=(48, 64), seed=5)
    run, model = (Path(shutil.copytree(HERE / name, folder / name)) for name in ("run", "model"))
    return Work(folder, data, run, model)


def parts() -> dict[str, Callable[[Work], Values]]:
    """Everything that is pinned, by name; each computes its values alone. The networks come one by one."""
    networks = {f"network {name}": lambda work, build=build: network(build) for name, build in cases().items()}
    return {
        "scenes": scenes,
        **networks,
        "stored run": lambda work: predictions(denselab.load(work.run, "cpu"), val_pictures(work)),
        "stored model": lambda work: predictions(denselab.load(work.model, "cpu"), val_pictures(work)),
        "eval of the run": lambda work: scores(work.run, work),
        "eval of the model": lambda work: scores(work.model, work),
        "resume": resumed,
        "fresh run": fresh,
    }


def cases() -> dict[str, Callable[[], nn.Module]]:
    """Thin versions of all networks, from the tests of the networks' contract."""
    spec = importlib.util.spec_from_file_location("contract", HERE.parent / "models" / "test_contract.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found: dict[str, Callable[[], nn.Module]] = module.CASES
    return found


def fill(model: nn.Module, images: torch.Tensor) -> None:
    """Give every parameter that learns numbers that follow from its name and shape alone, and norms the statistics of `images`.

    What does not learn stays as it was built: bilinear kernels are behaviour too.
    """
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")
                numbers = np.random.default_rng(seed).standard_normal(tuple(parameter.shape))
                if parameter.ndim > 1:
                    numbers *= (2 / (parameter.numel() / len(parameter))) ** 0.5
                else:
                    numbers = 0.1 * numbers + (not name.endswith("bias"))
                parameter.copy_(torch.from_numpy(numbers))
        norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
        for norm in norms:  # without it the activations of a hundred layers grow beyond what a bias could change
            norm.reset_running_stats()
            norm.momentum = None  # the plain mean of what comes
            norm.train()
        model(images)
        for norm in norms:  # a channel that hardly varied would enlarge what the last bits of a sum are off
            norm.eval()
            norm.running_var += 0.1 * norm.running_var.mean()


def pictures(count: int) -> torch.Tensor:
    """(count, 3, 37, 53) of noise."""
    return torch.from_numpy(np.random.default_rng(0).standard_normal((count, 3, 37, 53)).astype(np.float32))


def network(build: Callable[[], nn.Module]) -> Values:
    """Logits of one picture from a filled network in evaluation mode, its weights at the start, and what its state is called.

    The order of the parameters counts: an optimiser's stored state knows them by position.
    """
    torch.manual_seed(0)
    model = build().eval()
    state = model.state_dict()
    initial = {name: tensor.numpy().copy() for name, tensor in state.items()}
    shapes = {name: list(tensor.shape) for name, tensor in state.items()}
    order = [(name, list(p.shape), p.requires_grad) for name, p in model.named_parameters()]
    facts = {
        "parameters": sum(p.numel() for p in model.parameters()),
        "buffers": sum(b.numel() for b in model.buffers()),
        "state": digest(sorted(shapes.items())),
        "order": digest(order),
    }
    fill(model, pictures(4))
    with torch.no_grad():
        logits = model(pictures(1)).numpy()
    return {"logits/filled": logits, "weights/initial": initial, "facts/state": facts}


def scenes(work: Work) -> Values:
    """The drawn scenes themselves: where these differ, all that follows does."""
    dataset = denselab.open_dataset(work.data)
    values: Values = {}
    for item in (*dataset.of_split("train"), *dataset.of_split("val")):
        sample = dataset.read(item)
        values[f"pixels/{item.name}"], values[f"labels/{item.name}"] = sample.image, sample.labels
    return values


def val_pictures(work: Work) -> list[Path]:
    """The files of the validation scenes."""
    return sorted((work.data / "images" / "val").glob("*.png"))


def predictions(predictor: denselab.Predictor, files: list[Path], uncertainty: bool = False) -> Values:
    """Label maps and probabilities of pictures in every way that a predictor has."""
    ways: dict[str, dict[str, Any]] = {
        "plain": {},
        "tta": {"tta": True},
        "window": {"window": (16, 24)},
        "tta and window": {"tta": True, "window": (16, 24)},
        "crf": {"crf": True},  # with the parameters in the model folder, where it has some
        "crf_fast": {"crf": True, "crf_fast": True},
        **{f"crf {preset}": {"crf": preset} for preset in PRESETS},
    }
    if uncertainty:
        ways["uncertainty"] = {"uncertainty": True, "samples": 4}
    values: Values = {}
    for picture in files:
        for way, options in ways.items():
            result = predictor(picture, **options)
            values[f"labels/{way}/{picture.stem}"] = result.labels
            values[f"probs/{way}/{picture.stem}"] = result.probs
            if result.uncertainty is not None:
                values[f"uncertainty/{way}/{picture.stem}"] = result.uncertainty
    return values


def scores(model: Path, work: Work) -> Values:
    """The documents of `denselab eval --json`."""
    ways = {
        "plain": [],
        "tta": ["--tta"],
        "window": ["--window", "16x24"],
        "crf": ["--crf"],
        "crf preset": ["--crf", "--crf-preset", "deeplab_v1"],
        "train": ["--split", "train"],
    }
    return {f"scores/{way}": evaluated(model, work.data, work.folder, *options) for way, options in ways.items()}


def evaluated(model: Path, data: Path, folder: Path, *options: str) -> dict[str, Any]:
    """What one `denselab eval --json` prints; its files go below `folder`."""
    printed = io.StringIO()
    arguments = ["eval", str(model), str(data), "--json", "--device", "cpu", "--out", str(folder / "eval"), *options]
    with contextlib.redirect_stdout(printed):
        app(arguments, standalone_mode=False)
    document: dict[str, Any] = json.loads(printed.getvalue())
    return {key: value for key, value in document.items() if key not in PLACES}


def resumed(work: Work) -> Values:
    """The stored run, stopped in the middle of an epoch, goes on to its end."""
    run = Path(shutil.copytree(HERE / "run", work.folder / "resumed"))
    denselab.train(work.data, out=run, resume=True)
    return {"files/names": names_in(run), **outcome(run)}


def fresh(work: Work) -> Values:
    """A run of one step, for the names and shapes in its files; its network, filled, for dropout on top of an encoder.

    Weights after a step differ between CPUs, filled ones do not.
    """
    run = work.folder / "fresh"
    more = {"validations": 1, "ema": 0.9, "lr": 1e-3, "aux": True}
    options = {**SMALL, "batch": 12}
    denselab.train(
        work.data, out=run, model="deeplabv3plus", encoder="test_efficientnet", epochs=1, settings=more, **options
    )
    values = {"files/names": names_in(run), "files/tensors": tensors_in(run)}
    predictor = denselab.load(run, "cpu")
    drawn = [torch.from_numpy(np.array(PIL.Image.open(path))) for path in val_pictures(work)]
    fill(predictor.engine.network, torch.stack(drawn).permute(0, 3, 1, 2) / 127.5 - 1)
    return {**values, **predictions(predictor, val_pictures(work), uncertainty=True)}


def outcome(run: Path) -> Values:
    """What a run came to: the rows of its validations without times, and the weights of its networks."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    kept = ("step", "epoch", "train_loss", "val_loss", "miou", "pixel_accuracy", "class_iou")
    rows = [{key: line[key] for key in kept} for line in lines if line["kind"] == "validation"]
    files = ("model/model", "model-best-loss/model", "last/model", "last/average", "last/optimizer")
    weights = {
        f"weights/{file}": load_file(run / f"{file}.safetensors") for file in files if (run / file).parent.is_dir()
    }
    return {"metrics/validations": rows, **weights}


def names_in(run: Path) -> list[str]:
    """The files of a run, without the pictures of its report."""
    files = (path.relative_to(run).as_posix() for path in run.rglob("*") if path.is_file())
    return sorted(name for name in files if not name.startswith(("samples/", "last.previous/")))


def tensors_in(run: Path) -> dict[str, Any]:
    """Names and shapes of the tensors in a run's files, and the keys of its JSON and YAML: the format of today."""
    found: dict[str, Any] = {}
    for path in sorted(run.rglob("*.safetensors")):
        shapes = {name: list(tensor.shape) for name, tensor in load_file(path).items()}
        found[path.relative_to(run).as_posix()] = digest(sorted(shapes.items()))
    for name in ("model/config.json", "last/state.json", "dataset.json", "env.json", "summary.json", "evaluation.json"):
        found[name] = sorted(json.loads((run / name).read_text(encoding="utf-8")))
    settings = (run / "config.yaml").read_text(encoding="utf-8").splitlines()
    found["config.yaml"] = [line.split(":")[0] for line in settings if line[0] not in " -"]
    return found


def camvid(source: Path, folder: Path) -> Values:
    """A run of one epoch on a slice of CamVid and its scores: weights and documents for one machine, not for others.

    source: the data set in SegNet's layout, with its lists train.txt and val.txt.
    """
    data = folder / "camvid"
    for split, count in (("train", 12), ("val", 6)):
        lines = (source / f"{split}.txt").read_text(encoding="utf-8").splitlines()[:count]
        for name in (name for line in lines for name in line.split()):
            (data / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / name, data / name)
        (data / f"{split}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    run = folder / "streets"
    options = {**SMALL, "imgsz": (48, 64), "seed": 0}
    denselab.train(data, out=run, model="deeplabv3plus", encoder="test_efficientnet", epochs=1, **options)
    ways = {"plain": [], "tta": ["--tta"], "crf": ["--crf"]}
    told = {f"scores/{way}": evaluated(run, data, folder, *more) for way, more in ways.items()}
    seen = predictions(denselab.load(run, "cpu"), sorted((data / "val").iterdir())[:1], uncertainty=True)
    return {**outcome(run), **told, **seen}


def crf_layer(work: Work) -> Values:
    """A run of one epoch with a CRF that learns behind the network."""
    run = work.folder / "crf layer"
    denselab.train(work.data, out=run, model="pixelwise", epochs=1, crf_layer=True, **SMALL)
    return {**outcome(run), **predictions(denselab.load(run, "cpu"), val_pictures(work))}


def strict_parts(streets: Path) -> dict[str, Callable[[Work], Values]]:
    """`parts`, and runs whose weights hold on one machine only. streets: CamVid."""
    return {**parts(), "camvid": lambda work: camvid(streets, work.folder), "crf layer": crf_layer}


def digest(value: Any) -> str:
    """sha256 of plain data, or of an array's type, shape and bytes."""
    if isinstance(value, np.ndarray):
        head = f"{value.dtype.str} {value.shape} ".encode()
        return hashlib.sha256(head + np.ascontiguousarray(value).tobytes()).hexdigest()
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()


def digests(values: Values) -> dict[str, str]:
    """sha256 by name; of weights one for every tensor."""
    return {name: digest(value) for name, value in _single(values)}


def _single(values: Values) -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if name.startswith("weights/"):
            yield from ((f"{name}/{tensor}", array) for tensor, array in value.items())
        else:
            yield name, value


def summaries(values: Values) -> Values:
    """A few numbers for each value, as values.json has them."""
    return {name: summary(name.split("/")[0], value) for name, value in values.items()}


def summary(kind: str, value: Any) -> Any:
    """Of floating arrays mean, deviation and some samples; of label maps the pixels of each class; of documents the numbers."""
    if kind == "labels":
        return np.bincount(value.ravel().astype(np.int64)).tolist()
    if kind == "weights":
        flat = np.concatenate([value[name].ravel().astype(np.float64) for name in sorted(value)])
        return sampled(flat)
    if kind in ("logits", "probs", "uncertainty", "pixels"):
        return sampled(value.ravel().astype(np.float64))
    if kind in ("scores", "metrics"):
        return dict(numbers_in(value))
    return value


def sampled(flat: Array) -> list[float]:
    """Mean, deviation, and numbers at fixed places, the first and the last among them."""
    places = np.linspace(0, len(flat) - 1, SAMPLES).astype(np.int64)
    return [float(f"{number:.7g}") for number in (flat.mean(), flat.std(), *flat[places])]


def numbers_in(document: Any, where: str = "") -> Iterator[tuple[str, Any]]:
    """(path, number or text) of everything in a document but the full counts under "exact"."""
    if isinstance(document, dict):
        for key, value in document.items():
            if key != "exact":
                yield from numbers_in(value, f"{where}/{key}")
    elif isinstance(document, list):
        for position, value in enumerate(document):
            yield from numbers_in(value, f"{where}/{position}")
    else:
        yield where, document
