"""The spec in a model folder's config.json, read without torch."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from denselab.crf import Parameters
from denselab.data.pixels.spectral import bands_from_record
from denselab.encoders.origin import stored_origin
from denselab.engine.formats import current_config
from denselab.engine.spec import Architecture, ModelSpec, Preprocessing
from denselab.engine.stored import require_sound_config
from denselab.errors import CheckpointError, ConfigError, DataError
from denselab.files import unpack_json
from denselab.folders import read_member
from denselab.labels import LabelSpace
from denselab.migration import writer
from denselab.run_folder import MODEL_CONFIG


def read_spec(folder: Path) -> ModelSpec:
    """Read the spec of a model folder, without its weights. Raises CheckpointError."""
    path = str(folder / MODEL_CONFIG)
    return spec_of(current_config(unpack_json(read_member(folder, MODEL_CONFIG), path), path), path)


def spec_of(config: Mapping[str, Any], source: str) -> ModelSpec:
    """The spec in a config of the newest format. Raises CheckpointError naming `source`."""
    require_sound_config(config, source)
    try:
        fields = config["preprocessing"]
        preprocessing = Preprocessing(
            tuple(fields["imgsz"]),
            tuple(fields["mean"]),
            tuple(fields["std"]),
            fields["train_scale"],
            fields["fit"],
            tuple(fields["pad_to"]) if fields["pad_to"] else None,
            fields["white"],
            bands_from_record(fields["bands"]) if fields["bands"] else None,
        )
        spec = ModelSpec(
            Architecture(**config["architecture"]),
            LabelSpace.from_list(config["labels"]),
            preprocessing,
            config["scores"],
            Parameters(**config["crf"]) if config["crf"] else None,
            stored_origin(config["started_from"]),
            config.get("temperature", 1.0),
        )
    except (KeyError, TypeError) as error:
        raise CheckpointError(f"{source} is not the config of a model folder: {error!r}") from None
    except (ConfigError, DataError) as error:  # a label table that this version does not know
        raise unknown_to_us(source, config, error) from None
    return spec


def unknown_to_us(source: str, config: Mapping[str, Any], error: Exception) -> CheckpointError:
    """The error for a config that names something this version does not know."""
    return CheckpointError(f"{source}, written by {writer(config)}: {error}; update DenseLab, or use another model")
