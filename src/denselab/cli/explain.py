"""`denselab explain`: what a network makes of one picture, as a page of pictures."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from denselab.cli.completion import complete_network
from denselab.cli.instance_options import Aggregate, BoxCount, Proposals, instances_of
from denselab.cli.options import MODEL_FORMS, AsJson, Device, argument, choice, option, out_option
from denselab.console import remark, tell
from denselab.errors import ConfigError
from denselab.files import to_json
from denselab.paths import require_path

SCENE = 700_001  # a drawn scene that is in no split of the drawn data

if TYPE_CHECKING:
    from denselab.engine.torch_engine import TorchEngine
    from denselab.inspection.explanation import Explanation
    from denselab.report.language import Language


Network = Annotated[
    str | None,
    argument(
        "MODEL",
        f"{MODEL_FORMS}, or a name of `denselab models`.",
        "a small model of this package, trained on drawn scenes",
        complete=complete_network,
    ),
]
Image = Annotated[str | None, argument("IMAGE", "One picture file.", "a drawn scene")]
Out = Annotated[Path, out_option("Folder for explain.html and the pictures.")]
Pixel = Annotated[
    str | None, option("Y,X", "Pixel whose receptive field is measured: row, column, from 0.", "the centre")
]
ClassName = Annotated[str | None, option("NAME", "Class to look at.", "the winner at the pixel", flag="--class")]
Against = Annotated[
    str | None, option("MODEL", "Another model of the same classes: its class maps beside this one's.", "no other")
]
InLanguage = Annotated[
    Literal["en", "ko"],
    choice("Language of the pages: English or Korean. The terminal stays English.", flag="--language"),
]


def explain(
    model: Network = None,
    image: Image = None,
    *,
    out: Out,
    pixel: Pixel = None,
    class_name: ClassName = None,
    proposals: Proposals = None,
    aggregate: Aggregate = None,
    boxes: BoxCount = None,
    against: Against = None,
    language: InLanguage = "en",
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Show a network at work on a picture: maps from layer to layer, class probabilities, what a pixel depends on.

    Without MODEL a small model that comes with this package is shown, without IMAGE a scene that it was not trained on.
    The name of a network in place of a trained model shows it untrained: what the design does by itself, without
    probabilities, which would tell nothing. With --proposals or --against also boxes.html: the boxes, the prediction as
    they are added, class maps of both models.
    """
    from denselab.data.draw.synthetic import draw_scene
    from denselab.data.listing.inside import refuse_inside_data
    from denselab.inspection.explanation import explain as look
    from denselab.models import MODELS
    from denselab.report.boxes_page import write_boxes
    from denselab.report.explain_page import write_explanation

    at = _pixel(pixel)
    refuse_inside_data(out)
    instances = instances_of(None, proposals, aggregate, boxes)
    model, file = _named(model, image)
    engine, random = _engine(model, device)
    if (random or against in MODELS) and (instances or against):
        raise ConfigError("boxes.html shows probabilities, and untrained networks have none; give trained models")
    if (instances or against) and (bands := engine.spec.preprocessing.bands) is not None:
        raise ConfigError(f"boxes and `against` are shown for RGB pictures, and the model takes {bands.told()}")
    picture = draw_scene(SCENE)[0] if file is None else engine.spec.preprocessing.read(file)
    source = _source(file, language)
    explanation = look(engine, picture, pixel=at, class_name=class_name, random=random, quiet=as_json)
    written = write_explanation(explanation, out, source, language)
    other = None if against is None else _engine(against, device)[0]
    written += write_boxes(explanation, instances, other, out, source, language)
    if as_json:
        print(to_json(_facts(explanation, model, file, written)))
    else:
        tell(f"{written[0]} and {len(written) - 1} pictures beside it")


def _named(model: str | None, image: str | None) -> tuple[str, Path | None]:
    """The model and the picture, None for a drawn scene. A file alone is the picture. Raises NoSuchPath."""
    from denselab.data.pixels.images import PICTURE_SUFFIXES
    from denselab.inspection.shipped import SHIPPED

    if model is not None and image is None and Path(model).suffix.lower() in PICTURE_SUFFIXES:
        model, image = None, model  # `explain photo.jpg`
    if model is None:
        remark("no MODEL: the small one of this package, which knows drawn scenes only")
    file = None if image is None else require_path(Path(image), "a picture file")
    return model or str(SHIPPED), file


def _source(file: Path | None, language: "Language") -> str:
    """The picture's name on the pages; says so where the captions of the PNG files cannot be drawn."""
    from denselab.report.language import Say
    from denselab.visualize import can_draw

    if language == "ko" and not can_draw("가"):
        remark(
            "no font of this machine has Korean letters: captions in PNG files are boxes; the pages are not affected"
        )
    return Say(language)("a drawn scene") if file is None else file.name


def _engine(model: str, device: str) -> "tuple[TorchEngine, bool]":
    """The trained model, or the untrained network of that name; and whether its weights are random."""
    from denselab.engine.open import open_model
    from denselab.engine.torch_engine import TorchEngine
    from denselab.inspection.explanation import untrained
    from denselab.models import MODELS

    if model in MODELS:
        remark(f"{model} is the name of a network, not a trained model: its weights are random")
        return untrained(model, device), True
    engine = open_model(model, device, engine="torch")[0]
    assert isinstance(engine, TorchEngine)
    return engine, False


def _pixel(pixel: str | None) -> tuple[int, int] | None:
    """(row, column) of "120,200". Raises ConfigError."""
    if pixel is None:
        return None
    parts = pixel.split(",")
    if len(parts) != 2 or not all(part.strip().isdecimal() for part in parts):
        raise ConfigError(f"--pixel {pixel!r}; write row,column in pixels from the top left, such as 120,200")
    return int(parts[0]), int(parts[1])


def _facts(explanation: "Explanation", model: str, image: Path | None, written: list[Path]) -> dict[str, Any]:
    effect, space = explanation.effect, explanation.engine.spec.label_space
    box = effect.box
    return {
        "model": model,
        "image": None if image is None else str(image),
        "random_weights": explanation.random,
        "working_size": list(explanation.working.shape[:2]),
        "pixel": list(explanation.pixel),
        "class": space.names[effect.class_index],
        "receptive_field": explanation.summary.receptive_field,
        "box": None if box is None else [box.top, box.left, box.bottom, box.right],
        "squares": dict(zip(("50%", "95%"), effect.squares, strict=True)),
        "layers": [
            {
                "path": layer.path,
                "caption": layer.caption,
                "channels": layer.channels,
                "size": list(layer.size),
                "receptive_field": layer.receptive_field,
                "jump": layer.jump,
                "strongest": [index for index, _ in layer.strongest],
            }
            for layer in explanation.layers
        ],
        "files": [str(path) for path in written],
    }
