"""torch.export's file, run as an engine: only to measure what was just written, never to read a model of others."""

import io

import torch
from torch import Tensor

from denselab.engine.engine import Pictures
from denselab.engine.graph_engine import GraphEngine
from denselab.engine.spec import ModelSpec


def program_bytes(program: torch.export.ExportedProgram, metadata: dict[str, str]) -> bytes:
    """The .pt2 file of a program, with the metadata as extra files."""
    buffer = io.BytesIO()
    torch.export.save(program, buffer, extra_files=metadata)
    return buffer.getvalue()


def program_engine(content: bytes, spec: ModelSpec) -> GraphEngine:
    """The engine of a file that `program_bytes` made in this process.

    Without torch's guards: they also hold how the traced picture lay in memory, which other sizes need not share.
    """
    module = torch.export.load(io.BytesIO(content)).module(check_guards=False)

    def run(pictures: Pictures, output: str) -> Tensor:
        with torch.no_grad():
            found: Tensor = module(torch.from_numpy(pictures))
            return found

    return GraphEngine(spec, "cpu", run)
