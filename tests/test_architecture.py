"""Imports go down the list of layers, never up and never sideways: the rule that keeps each part readable alone."""

import ast
import importlib
from graphlib import TopologicalSorter
from importlib.util import find_spec
from pathlib import Path

import pytest

import denselab

ROOT = Path(denselab.__file__).parent

LAYERS = [
    {
        "errors",
        "types",
        "labels",
        "numbers",
        "documents",
        "shown",
        "console",
        "files",
        "folders",
        "migration",
        "paths",
        "wire",
        "in_words",
    },
    {"config", "configs", "lock", "log", "runtime", "installation", "neighbours", "run_folder", "compiled", "bounded"},
    {"layers", "data", "crf", "evaluation", "tensors"},
    {"encoders", "losses", "proposals"},
    {"regions"},
    {"models"},
    {"crf_layer"},
    {"build", "memory", "visualize"},
    {"engine"},
    {"inference"},
    {"measure"},
    {"convolutional", "refine", "weak"},
    {"training", "convert", "inspection", "export"},
    {"report"},
    {"api"},
    {"comparison"},
    {"cli"},
]
ROOMS_OF_DATA = [
    "resizing",
    "pixels",
    "listing",
    "label_files",
    "splits",
    "names",
    "folders",
    "layouts",
    "described",
    "finding",
    "audit",
]
FOUNDATION = {
    "errors",
    "types",
    "labels",
    "numbers",
    "documents",
    "shown",
    "files",
}  # the rest of the first layer may use these
TORCH_FREE = {*LAYERS[0], *LAYERS[1], "crf"}
WITHOUT_TORCH = [  # what an engine of another kind needs; so a server without torch can be built on them
    *("engine.spec", "engine.engine", "engine.card", "engine.hub"),
    *("engine.stored_spec", "engine.formats", "engine.open", "engine.enlarge", "engine.planes", "engine.out_of_memory"),
    *("engine.onnx_file", "engine.onnx_engine", "engine.openvino_engine"),
    *("inference.views", "inference.sinks", "inference.run", "inference.predictor", "inference.collection"),
    *("inference.crf_steps", "measure.items", "measure.evaluate"),
    *("inference.plan", "inference.route", "inference.inputs", "inference.pictures", "inference.ahead"),
    *("inference.instances", "inference.instance_wise", "inference.joining", "inference.score_cache"),
    *("inference.prediction", "inference.tiling", "measure.data", "measure.kept", "measure.pictures"),
]
FILES = sorted(ROOT.rglob("*.py"))
SCRIPTS = sorted(
    path.relative_to(ROOT.parents[1])
    for folder in ("reliability", "benchmarks", "docs", "examples")
    for path in (ROOT.parents[1] / folder).rglob("*.py")
)
PREDICTING = [  # what `denselab predict` imports before its first picture, whatever the network
    *("cli.main", "cli.predict", "cli.collection_task", "inference.collection", "inference.predictor"),
    *("engine.open", "engine.folder", "engine.torch_engine", "build"),
    *(f"models.{path.stem}" for path in (ROOT / "models").glob("*.py")),
]


def part_of(path: Path) -> str:
    """The first name below the package: `data` for data/feed/loading.py, `build` for build.py."""
    first = path.relative_to(ROOT).parts[0]
    return first.removesuffix(".py")


def imported_modules(path: Path) -> set[str]:
    """Every module a file imports anywhere, dotted."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import; write the whole name"
            found.add(node.module or "")
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return found


def may_import(part: str, other: str) -> bool:
    if part == other or part.startswith("__"):
        return True
    level = next(i for i, layer in enumerate(LAYERS) if part in layer)
    other_level = next(i for i, layer in enumerate(LAYERS) if other in layer)
    return other_level < level or (level == other_level == 0 and other in FOUNDATION)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_down(path: Path) -> None:
    part = part_of(path)
    assert part.startswith("__") or any(part in layer for layer in LAYERS), f"{part} has no layer; add it to LAYERS"
    for module in imported_modules(path):
        if module.startswith("denselab."):
            other = module.split(".")[1]
            assert other.startswith("__") or may_import(part, other), f"{path.name} ({part}) must not import {module}"


@pytest.mark.parametrize("room", ROOMS_OF_DATA)
def test_the_rooms_of_data_stand_upon_each_other(room: str) -> None:
    above = set(ROOMS_OF_DATA[ROOMS_OF_DATA.index(room) + 1 :])
    for path in (ROOT / "data" / room).glob("*.py"):
        taken = {module.split(".")[2] for module in imported_modules(path) if module.startswith("denselab.data.")}
        assert not taken & above, f"{path.name} ({room}) must not import from {', '.join(taken & above)}"


def test_no_file_imports_itself_by_a_detour() -> None:
    """Not inside a function either: two files that need each other are one, or three. `__init__` only gathers names."""
    files = [path for path in FILES if path.stem != "__init__"]
    names = {".".join(path.relative_to(ROOT.parent).with_suffix("").parts): path for path in files}
    graph = {name: imported_modules(path) & names.keys() for name, path in names.items()}
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the files


@pytest.mark.parametrize("path", [p for p in FILES if part_of(p) in TORCH_FREE], ids=lambda path: path.name)
def test_first_layer_needs_no_torch(path: Path) -> None:
    assert not any(module.split(".")[0] in {"torch", "torchvision", "timm"} for module in imported_modules(path))


def loaded_at_import(module: str, seen: set[str]) -> set[str]:
    """`module` and all that is imported with it, its packages too; what is imported for types or in functions is not."""
    if module in seen:
        return seen
    seen.add(module)
    if "." in module:
        loaded_at_import(module.rpartition(".")[0], seen)
    place = ROOT.parent / Path(*module.split("."))
    path = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
    if path.is_file():
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.Import):
                for alias in node.names:
                    loaded_at_import(alias.name, seen)
            elif isinstance(node, ast.ImportFrom):
                loaded_at_import(node.module or "", seen)
    return seen


@pytest.mark.parametrize("module", WITHOUT_TORCH)
def test_what_other_engines_stand_on_needs_no_torch(module: str) -> None:
    loaded = loaded_at_import(f"denselab.{module}", set())
    assert f"denselab.{module.split('.')[0]}" in loaded
    assert not {name.split(".")[0] for name in loaded} & {"torch", "torchvision", "timm", "accelerate"}


@pytest.mark.parametrize("module", PREDICTING)
def test_predict_starts_without_what_it_does_not_need(module: str) -> None:
    """Imported for a network that has no part of theirs, timm and torchvision doubled the time until it ran."""
    loaded = loaded_at_import(f"denselab.{module}", set())
    slow = {"timm", "torchvision", "scipy", "accelerate", "matplotlib", "huggingface_hub", "onnx", "openvino"}
    assert not {name.split(".")[0] for name in loaded} & slow
    assert "denselab.data.dataset" not in loaded  # with it come all layouts of data sets


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_stay_readable(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400, f"{path.name}: over 400 lines; divide it"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_functions_stay_readable(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            assert lines <= 50, f"{path.name}: {node.name} has {lines} lines; divide it"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_that_runs_foreign_code(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in {"eval", "exec"}, f"{path.name}:{node.lineno} calls {node.func.id}"
    assert not imported_modules(path) & {"pickle", "dill", "joblib", "shelve"}, f"{path.name} imports a pickle"


@pytest.mark.parametrize("path", SCRIPTS, ids=str)
def test_scripts_import_what_is_there(path: Path) -> None:
    """`make reliability` fell at once for a while: a function had moved, and its warm-up imported it from where it was."""
    for node in ast.walk(ast.parse((ROOT.parents[1] / path).read_text())):
        if isinstance(node, ast.ImportFrom) and node.level == 0 and (node.module or "").split(".")[0] == "denselab":
            module = importlib.import_module(str(node.module))
            for alias in node.names:
                inside = hasattr(module, alias.name) or find_spec(f"{module.__name__}.{alias.name}")
                assert inside, f"{path}, line {node.lineno}: {node.module} has no {alias.name}"
