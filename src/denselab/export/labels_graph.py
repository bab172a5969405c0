"""The graph for users of any language: an RGB picture of any size goes in, its label ids come out.

Around the network's graph stand the picture's reduction to the size that the network is to see, and the enlargement of
the logits with their arg-max, all in ONNX's own operators. The enlargement holds the logits at the picture's size,
4 bytes a class and pixel; `denselab predict` works by bands instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from denselab.engine.graph_engine import LABELS, LOGITS, PICTURES
from denselab.engine.spec import ModelSpec, Preprocessing
from denselab.export.onnx_graph import add_metadata
from denselab.inference.prediction import file_table

if TYPE_CHECKING:
    from onnx import ModelProto

RGB, SEEN, EXTENT = "rgb", "seen", "extent"  # input; between the parts: what the network sees, the picture's size

# The largest size that fits into imgsz, in float64 and rounded half to even, as data.feed.fit.fit_size does it.
INSIDE = """
    box = Constant <value = double[2] {{{height}, {width}}}> ()
    ratios = Div (box, sides)
    every = ReduceMin <keepdims = 1> (ratios)
    {limit}
    scaled = Mul (sides, factor)
    rounded = Round (scaled)
    unit = Constant <value = double[1] {{1.0}}> ()
    some = Max (rounded, unit)
    fitted = Min (some, box)
    working = Cast <to = 7> (fitted)
"""
# The shorter side becomes imgsz's, the longer is rounded down, as torchvision does it.
SHORTER = """
    whole = Cast <to = 7> (sides)
    least = ReduceMin <keepdims = 1> (whole)
    shorter = Constant <value = int64[1] {{{shorter}}}> ()
    enlarged = Mul (whole, shorter)
    working = Div (enlarged, least)
"""
# Antialiased bilinear: each pixel is the mean under a triangle as wide as the reduction.
RESIZE = """
    resized = Resize <mode = "linear", antialias = 1, exclude_outside = 1,
        coordinate_transformation_mode = "half_pixel"> (planes, , , sizes)
"""
# The same as two matrix products, for runtimes whose Resize does not antialias.
MATRICES = """
    zero = Constant <value = int64 {{0}}> ()
    step = Constant <value = int64 {{1}}> ()
    first = Constant <value = int64[1] {{0}}> ()
    last = Constant <value = int64[1] {{1}}> ()
    one_number = Constant <value = float {{1.0}}> ()
    {rows}
    {columns}
    narrowed = MatMul (planes, columns_weights)
    rows_turned = Transpose <perm = [1, 0]> (rows_weights)
    resized = MatMul (rows_turned, narrowed)
"""
MATRIX = """
    {axis}_at = Constant <value = int64[1] {{{place}}}> ()
    {axis}_from_one = Gather <axis = 0> (extent, {axis}_at)
    {axis}_to_one = Gather <axis = 0> (working, {axis}_at)
    {axis}_from = Squeeze ({axis}_from_one)
    {axis}_to = Squeeze ({axis}_to_one)
    {axis}_from_number = Cast <to = 1> ({axis}_from)
    {axis}_to_number = Cast <to = 1> ({axis}_to)
    {axis}_scale = Div ({axis}_from_number, {axis}_to_number)
    {axis}_support = Max ({axis}_scale, one_number)
    {axis}_old = Range (zero, {axis}_from, step)
    {axis}_new = Range (zero, {axis}_to, step)
    {axis}_old_number = Cast <to = 1> ({axis}_old)
    {axis}_new_number = Cast <to = 1> ({axis}_new)
    {axis}_old_centre = Add ({axis}_old_number, half)
    {axis}_new_half = Add ({axis}_new_number, half)
    {axis}_new_centre = Mul ({axis}_new_half, {axis}_scale)
    {axis}_old_column = Unsqueeze ({axis}_old_centre, last)
    {axis}_apart = Sub ({axis}_old_column, {axis}_new_centre)
    {axis}_distance = Abs ({axis}_apart)
    {axis}_share = Div ({axis}_distance, {axis}_support)
    {axis}_below = Sub (one_number, {axis}_share)
    {axis}_triangle = Relu ({axis}_below)
    {axis}_sum = ReduceSum ({axis}_triangle, first)
    {axis}_weights = Div ({axis}_triangle, {axis}_sum)
"""
FRONT = """
<ir_version: {ir}, opset_import: ["": {opset}]>
front (uint8[B,H,W,3] rgb) => (uint8[B,h,w,3] seen, int64[2] extent)
{{
    extent = Shape <start = 1, end = 3> (rgb)
    batch = Shape <start = 0, end = 1> (rgb)
    sides = Cast <to = 11> (extent)
    {working}
    three = Constant <value = int64[1] {{3}}> ()
    sizes = Concat <axis = 0> (batch, three, working)
    numbers = Cast <to = 1> (rgb)
    planes = Transpose <perm = [0, 3, 1, 2]> (numbers)
    half = Constant <value = float {{0.5}}> ()
    {resize}
    rounded_up = Add (resized, half)
    low = Constant <value = float {{0.0}}> ()
    high = Constant <value = float {{255.0}}> ()
    within = Clip (rounded_up, low, high)
    as_bytes = Cast <to = 2> (within)
    seen = Transpose <perm = [0, 2, 3, 1]> (as_bytes)
}}
"""
BACK = """
<ir_version: {ir}, opset_import: ["": {opset}]>
back (float[B,K,h,w] {logits}, int64[2] extent) => ({kind}[B,H,W] {labels})
{{
    leading = Shape <start = 0, end = 2> ({logits})
    sizes = Concat <axis = 0> (leading, extent)
    enlarged = Resize <mode = "linear", coordinate_transformation_mode = "half_pixel"> ({logits}, , , sizes)
    indices = ArgMax <axis = 1, keepdims = 0> (enlarged)
    {labels} = Gather <axis = 0> (ids, indices)
}}
"""


def labels_model(model: ModelProto, spec: ModelSpec, *, antialias: bool = True) -> ModelProto:
    """The graph from "rgb", (B, H, W, 3) uint8 pictures of any size, to "labels", (B, H, W) label ids.

    model: of `onnx_model`, from pictures at the network's size to logits.
    antialias: whether the runtime's Resize can antialias; otherwise matrix products do it, slower for large pictures.
    The ids are those that `denselab predict` writes: uint8, or uint16 where one is above 255.
    """
    import onnx

    opset = next(entry.version for entry in model.opset_import if entry.domain == "")
    names = {"ir": model.ir_version, "opset": opset, "logits": LOGITS, "labels": LABELS}
    ids = np.ascontiguousarray(file_table(spec.label_space)[: spec.label_space.num_classes])
    front = onnx.parser.parse_model(front_text(spec.preprocessing, names, antialias))
    back = onnx.parser.parse_model(BACK.format(kind=ids.dtype.name, **names))
    back.graph.initializer.append(onnx.numpy_helper.from_array(ids, "ids"))
    for part in (front, back):  # the merger wants one list of operator sets
        part.opset_import.extend(entry for entry in model.opset_import if entry.domain)
    front, back = (
        onnx.compose.add_prefix(part, prefix, rename_inputs=False, rename_outputs=False)
        for part, prefix in ((front, "front_"), (back, "back_"))
    )
    seen = onnx.compose.merge_models(front, model, [(SEEN, PICTURES)], outputs=[LOGITS, EXTENT])
    whole: ModelProto = onnx.compose.merge_models(seen, back, [(LOGITS, LOGITS), (EXTENT, EXTENT)])
    del whole.graph.value_info[:]  # each part calls its own sizes H and W, and runtimes give equal names one buffer
    whole.graph.name = spec.architecture.name
    add_metadata(whole, spec, ids=str(ids.tolist()))
    return whole


def front_text(preprocessing: Preprocessing, names: Mapping[str, object], antialias: bool = True) -> str:
    """The graph before the network's, in ONNX's text form: an RGB picture to what the network is to see of it."""
    height, width = preprocessing.imgsz
    if preprocessing.fit == "shorter":
        working = SHORTER.format(shorter=min(height, width))
    elif preprocessing.fit == "shrink":  # a picture that fits in keeps its size
        limit = "one = Constant <value = double[1] {1.0}> ()\n    factor = Min (every, one)"
        working = INSIDE.format(limit=limit, height=float(height), width=float(width))
    else:
        working = INSIDE.format(limit="factor = Identity (every)", height=float(height), width=float(width))
    rows, columns = (MATRIX.format(axis=axis, place=place) for place, axis in enumerate(("rows", "columns")))
    resize = RESIZE if antialias else MATRICES.format(rows=rows, columns=columns)
    return FRONT.format(working=working, resize=resize, **names)
