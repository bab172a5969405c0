"""What an ONNX file may hold: its own numbers, and nothing that is read from another place or run.

The file is walked field by field (onnx.proto), without the onnx package.
"""

from collections.abc import Iterator

from denselab.errors import CheckpointError
from denselab.wire import BYTES, VARINT, Damaged, field, fields, text

# field numbers in onnx.proto
MODEL_GRAPH, MODEL_FUNCTIONS = 7, 25
GRAPH_NODE, GRAPH_INITIALIZER, GRAPH_INPUT, GRAPH_OUTPUT, GRAPH_SPARSE = 1, 5, 11, 12, 15
VALUE_NAME = 1
FUNCTION_NODE, NODE_ATTRIBUTE = 7, 5
NODE_INPUT, NODE_OUTPUT = 1, 2
ATTRIBUTE_TENSOR, ATTRIBUTE_GRAPH, ATTRIBUTE_TENSORS, ATTRIBUTE_GRAPHS, ATTRIBUTE_SPARSE, ATTRIBUTE_SPARSES = (
    *(5, 6, 10, 11),
    *(22, 23),
)
SPARSE_VALUES, SPARSE_INDICES = 1, 2
TENSOR_NAME, TENSOR_EXTERNAL, TENSOR_LOCATION = 8, 13, 14

Field = tuple[int, int, int, memoryview]
"""As wire.fields yields it."""

INSIDE: dict[str, dict[int, str]] = {
    "model": {MODEL_GRAPH: "graph", MODEL_FUNCTIONS: "function"},
    "graph": {GRAPH_NODE: "node", GRAPH_INITIALIZER: "tensor", GRAPH_SPARSE: "sparse"},
    "function": {FUNCTION_NODE: "node"},
    "node": {NODE_ATTRIBUTE: "attribute"},
    "attribute": {
        ATTRIBUTE_TENSOR: "tensor",
        ATTRIBUTE_TENSORS: "tensor",
        ATTRIBUTE_GRAPH: "graph",
        ATTRIBUTE_GRAPHS: "graph",
        ATTRIBUTE_SPARSE: "sparse",
        ATTRIBUTE_SPARSES: "sparse",
    },
    "sparse": {SPARSE_VALUES: "tensor", SPARSE_INDICES: "tensor"},
}
"""Which kinds of message lie in which fields of a message."""


def refuse_external_data(content: bytes, source: str) -> None:
    """Raise CheckpointError, naming `source`, where a tensor of the ONNX document lies in another file.

    A runtime would read that file, which may be any file of this machine. DenseLab writes no such documents. Damaged
    ones are refused too.
    """
    try:
        for name, place in external_tensors(content):
            raise CheckpointError(
                f"{source}: the numbers of {name or 'a tensor'} lie in another file ({place}); only documents with "
                "all of them inside are read: save it as one file (onnx.save with save_as_external_data=False)"
            )
    except Damaged as error:
        raise CheckpointError(f"{source} is not an ONNX file, or is damaged: {error}") from None


def interface(content: bytes, source: str) -> tuple[list[str], list[str]]:
    """The names of the graph's inputs and outputs. Raises CheckpointError, naming `source`, for what is no document."""
    names: dict[int, list[str]] = {GRAPH_INPUT: [], GRAPH_OUTPUT: []}
    try:
        for number, kind, _, message in fields(memoryview(content)):
            for inner, wire, _, value in fields(message) if (number, kind) == (MODEL_GRAPH, BYTES) else ():
                if wire == BYTES and inner in names:
                    names[inner].append(_name(value))
    except Damaged as error:
        raise CheckpointError(f"{source} is not an ONNX file, or is damaged: {error}") from None
    return names[GRAPH_INPUT], names[GRAPH_OUTPUT]


def with_output(content: bytes, output: str) -> bytes:
    """The ONNX document with this one of the graph's outputs, and without the nodes that only others need.

    ONNX Runtime computes every node of a document, whether or not a result comes of it.
    """
    parts = []
    for number, kind, value, message in fields(memoryview(content)):
        if (number, kind) == (MODEL_GRAPH, BYTES):
            parts.append(field(number, kind, value, b"".join(_leading_to(output, list(fields(message))))))
        else:
            parts.append(field(number, kind, value, message))
    return b"".join(parts)


def _leading_to(output: str, graph: list[Field]) -> Iterator[bytes]:
    """The fields of a graph but for its other outputs and the nodes that nothing needs."""
    needed, unneeded = {output}, set[int]()
    for i in reversed(range(len(graph))):  # nodes come in the order of computation
        number, kind, _, message = graph[i]
        if (number, kind) == (GRAPH_NODE, BYTES):
            if needed.isdisjoint(_texts(message, NODE_OUTPUT)):
                unneeded.add(i)
            else:
                needed |= _all_inputs(message)
        elif (number, kind) == (GRAPH_OUTPUT, BYTES) and _name(message) != output:
            unneeded.add(i)
    return (field(*held) for i, held in enumerate(graph) if i not in unneeded)


def _all_inputs(node: memoryview) -> set[str]:
    """The names of a node's inputs, and those of the nodes in its graphs, which see the tensors around them."""
    found, waiting = set[str](), [("node", node)]
    while waiting:
        kind, message = waiting.pop()
        if kind == "node":
            found |= _texts(message, NODE_INPUT)
        elif kind == "graph":  # what it gives may be a tensor from around it
            found |= {
                _name(value) for number, wire, _, value in fields(message) if (number, wire) == (GRAPH_OUTPUT, BYTES)
            }
        for number, wire, _, inner in fields(message):
            if wire == BYTES and INSIDE[kind].get(number) in ("attribute", "graph", "node"):
                waiting.append((INSIDE[kind][number], inner))
    return found


def _texts(message: memoryview, wanted: int) -> set[str]:
    return {text(value) for number, kind, _, value in fields(message) if (number, kind) == (wanted, BYTES)}


def _name(message: memoryview) -> str:
    return next(
        (text(value) for number, kind, _, value in fields(message) if (number, kind) == (VALUE_NAME, BYTES)), ""
    )


def external_tensors(content: bytes) -> Iterator[tuple[str, str]]:
    """(name, location) of the tensors of an ONNX document whose numbers are elsewhere. Raises Damaged."""
    waiting = [("model", memoryview(content))]
    while waiting:
        kind, message = waiting.pop()
        if kind == "tensor":
            name, place, elsewhere = _tensor(message)
            if elsewhere:
                yield name, place
            continue
        for number, wire, _, inner in fields(message):
            if wire == BYTES and number in INSIDE[kind]:
                waiting.append((INSIDE[kind][number], inner))


def _tensor(message: memoryview) -> tuple[str, str, bool]:
    """Name, location, and whether the numbers are elsewhere."""
    name, place, elsewhere = "", "", False
    for number, wire, value, inner in fields(message):
        if number == TENSOR_NAME and wire == BYTES:
            name = text(inner)
        elif number == TENSOR_EXTERNAL:
            entry = {key: text(word) for key, kind, _, word in fields(inner) if kind == BYTES}
            place, elsewhere = (entry.get(2, "") if entry.get(1) == "location" else place), True
        elif number == TENSOR_LOCATION and wire == VARINT:
            elsewhere = elsewhere or value != 0
    return name, place, elsewhere
