"""The README of a model folder."""

from denselab.engine.spec import ModelSpec, Preprocessing


def model_card(spec: ModelSpec) -> str:
    """A short README: what the network is, how to use it, its scores and classes."""
    architecture, space = spec.architecture, spec.label_space
    rows = "\n".join(f"| {i} | {e.id} | {e.name} | {e.role} |" for i, e in enumerate(space.classes))
    scores = "\n".join(f"- {name}: {value}" for name, value in spec.scores.items())
    encoder = f" on {architecture.encoder}" if architecture.encoder else ""
    encoder += " with a CRF layer" if architecture.crf_layer else ""
    started = f" Its training started from {spec.started_from}." if spec.started_from else ""
    seen = f"{_bands(spec.preprocessing)}are {_fitted(spec.preprocessing)}"
    return f"""---
library_name: denselab
pipeline_tag: image-segmentation
---
# {architecture.name}{encoder}, {space.num_classes} classes

A semantic segmentation network trained with DenseLab. Pictures {seen}.{started}

```python
import denselab as dl
result = dl.load("this folder")("photo.jpg")
result.save("out/")
```

## Scores
{scores or "none stored"}

## Classes
| index | id | name | role |
|---|---|---|---|
{rows}
"""


def _bands(preprocessing: Preprocessing) -> str:
    """Which bands they have, where they are not RGB."""
    return "" if preprocessing.bands is None else f"have {preprocessing.bands.told()} and "


def _fitted(preprocessing: Preprocessing) -> str:
    """How a picture's size is adapted, as the end of a sentence."""
    height, width = preprocessing.imgsz
    fitted = {
        "inside": f"fitted into {height}x{width}",
        "shrink": f"taken at their own size, larger ones fitted into {height}x{width}",
        "shorter": f"resized to a shorter side of {min(height, width)}",
    }[preprocessing.fit]
    if pad_to := preprocessing.pad_to:
        fitted += f", then padded to {pad_to[0]}x{pad_to[1]} at the bottom and right"
    return fitted
