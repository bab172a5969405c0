"""What an engine computes with, as a digest: every part that changes a score changes it, and nothing else does."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.conftest import NearestColour

from denselab.engine.content import content_of
from denselab.engine.graph_engine import GraphEngine, Run, digest_of
from denselab.engine.torch_engine import TorchEngine
from denselab.errors import CheckpointError
from denselab.labels import LabelSpace


def with_weight(engine: TorchEngine, weight: torch.Tensor) -> TorchEngine:
    network = NearestColour().eval()
    network.register_buffer("weight", weight)
    return replace(engine, network=network)


def test_equal_weights_are_equal_content(engine: TorchEngine) -> None:
    first, second = (with_weight(engine, torch.arange(3.0)) for _ in range(2))
    assert content_of(first) == content_of(second)
    assert len(content_of(first)) == 64


def test_any_other_weight_kind_or_shape_is_other_content(engine: TorchEngine) -> None:
    weights = [torch.zeros(4), torch.ones(4), torch.zeros(4, dtype=torch.int32), torch.zeros(2, 2), torch.zeros(())]
    weights += [torch.zeros(4, dtype=torch.bfloat16)]
    assert len({content_of(with_weight(engine, weight)) for weight in weights}) == len(weights)


def test_a_network_that_is_trained_further_is_another(engine: TorchEngine) -> None:
    """In place, as an optimiser does it: the digest of before is not taken again."""
    changed = with_weight(engine, torch.zeros(4))
    before = content_of(changed)
    assert content_of(changed) == before
    with torch.no_grad():
        changed.network.weight[2] = 1  # type: ignore[index,operator]
    assert content_of(changed) != before


def test_two_networks_of_a_class_that_differ_in_a_number_are_told_apart(engine: TorchEngine) -> None:
    """Their tensors are the same; the scores of one were once given out as those of the other."""
    networks = [NearestColour().eval() for _ in range(3)]
    networks[1].channel = 1  # type: ignore[assignment]
    networks[2].channel = 2  # type: ignore[assignment]
    contents = [content_of(replace(engine, network=network)) for network in networks]
    assert len(set(contents)) == 3
    networks[1].channel = 2  # type: ignore[assignment]
    assert content_of(replace(engine, network=networks[1])) == contents[2]


def test_what_is_done_to_pictures_and_labels_counts(engine: TorchEngine) -> None:
    spec = engine.spec
    turned = LabelSpace(tuple(reversed(spec.label_space.classes)))
    others = [
        replace(spec, preprocessing=replace(spec.preprocessing, mean=(0.5, 0.5, 0.5))),
        replace(spec, preprocessing=replace(spec.preprocessing, imgsz=(8, 8))),
        replace(spec, architecture=replace(spec.architecture, output_stride=8)),
        replace(spec, label_space=turned),
    ]
    contents = {content_of(replace(engine, spec=other)) for other in [spec, *others]}
    assert len(contents) == 5
    told = replace(spec, scores={"miou": 0.5}, temperature=2.0)
    assert content_of(replace(engine, spec=told)) == content_of(engine), "neither changes a raw score"


def test_how_torch_rounds_counts(engine: TorchEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    before = content_of(engine)
    monkeypatch.setattr(torch, "get_float32_matmul_precision", lambda: "medium")
    assert content_of(engine) != before
    monkeypatch.undo()
    monkeypatch.setattr(torch, "__version__", "1.0")
    assert content_of(engine) != before


def test_a_graph_counts_with_its_runtime(engine: TorchEngine) -> None:
    def graph(digest: str) -> GraphEngine:
        return GraphEngine(engine.spec, "cpu", lambda pictures: np.zeros(0, np.float32), digest)

    digests = [digest_of("a 1.0", b"xy", b""), digest_of("a 1.1", b"xy", b""), digest_of("a 1.0", b"x", b"y")]
    assert len({content_of(graph(digest)) for digest in digests}) == 3
    assert content_of(graph(digests[0])) == content_of(graph(digests[0]))
    assert content_of(graph("")) == "", "nothing is known of it, so nothing is kept"


def test_a_graph_of_another_model_is_refused(engine: TorchEngine) -> None:
    """A graph with more classes than the config beside it, or with broken weights, gave labels without a word."""
    classes = engine.spec.label_space.num_classes
    pictures = np.zeros((1, 4, 4, 3), np.uint8)
    for scores, words in (
        (np.zeros((1, classes + 1, 4, 4), np.float32), f"m.onnx gives {classes + 1} scores a pixel, but the config"),
        (np.full((1, classes, 4, 4), np.nan, np.float32), "m.onnx gives NaN or infinite scores"),
    ):
        run: Run = lambda pictures, output, scores=scores: scores  # noqa: E731
        graph = GraphEngine(engine.spec, "cpu", run, outputs=("logits", "coarse_2"), source="m.onnx")
        with pytest.raises(CheckpointError, match=words):
            graph.logits(pictures)
        with pytest.raises(CheckpointError, match=words):
            graph.coarse(pictures)
