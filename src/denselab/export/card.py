"""The README of an exported model folder: the model's own, and what was measured."""

from collections.abc import Mapping
from typing import Any

from denselab.engine.card import model_card
from denselab.engine.spec import ModelSpec
from denselab.run_folder import IR_GRAPH, LABELS_IR, LABELS_ONNX, SPLITS

TAKES = "`pictures`, (B, H, W, 3) uint8 RGB at the size that the network is to see"
GIVES = "`logits`, (B, K, H, W) float32; any batch and size"
USES = {
    "onnx": f"`model.onnx` takes {TAKES}, and gives {GIVES}. Its metadata hold the label table and the preprocessing.",
    "openvino": f"`model.xml` with `model.bin` takes {TAKES}, and gives {GIVES}. Its rt_info holds the label table.",
    "torch": "`model.pt2` is the program for `torch.export.load(path).module(check_guards=False)`: "
    f"{TAKES}, to {GIVES}.",
}
LABELS_USE = (
    "`{file}` takes `rgb`, (B, H, W, 3) uint8 pictures of any size, and gives `labels`, (B, H, W) label ids: resizing, "
    "enlargement and arg-max are inside."
)


def export_card(spec: ModelSpec, facts: Mapping[str, Any]) -> str:
    """The card. facts: of export.json."""
    lines = [model_card(spec).rstrip(), "", "## Exported", USES[facts["target"]]]
    if facts["labels_parity"]:
        lines.append(LABELS_USE.format(file=LABELS_ONNX if facts["target"] == "onnx" else LABELS_IR))
    lines += ["", f"Measured on {facts['parity']['pictures']} pictures of {facts['parity']['measured_on']}:", ""]
    lines += [
        "| | graph |" + (" labels |" if facts["labels_parity"] else ""),
        "|---|---|" + ("---|" if facts["labels_parity"] else ""),
    ]
    for key, value in facts["parity"].items():
        if key not in ("measured_on", "pictures"):
            cells = [value, *([facts["labels_parity"][key]] if facts["labels_parity"] else [])]
            lines.append(
                f"| {key.replace('_', ' ')} | " + " | ".join("" if cell is None else str(cell) for cell in cells) + " |"
            )
    if facts["int8"]:
        kept = facts["layers_left_in_float"]
        named = f"; left in float32, since int8 hurt there: {', '.join(kept)}" if kept else ""
        lines += [
            "",
            f"int8 in {facts['layers'] - len(kept)} of {facts['layers']} convolutions, one scale per channel{named}.",
        ]
    if facts["bf16"]:
        lines += ["", f"In bfloat16 (`{IR_GRAPH}`); processors without AVX512_BF16 or AMX compute it in float32."]
    if SPLITS in facts["files"]:
        lines += ["", f"`{SPLITS}`: digests of the pictures of its training by split, no names; `eval` goes by them."]
    versions = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    return "\n".join([*lines, "", f"Written {facts['written']} with {versions}.", ""])
