"""torch.export's file, run as an engine: only to measure what was just written, never to read a model of others."""

import io
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from denselab.engine.engine import Pictures
from denselab.engine.graph_engine import WithoutDropout, fits_in_memory
from denselab.engine.spec import ModelSpec


@dataclass(frozen=True)
class ProgramEngine(WithoutDropout):
    """See engine.Engine. module: the exported program's."""

    spec: ModelSpec
    module: Any
    device: str = "cpu"

    def logits(self, pictures: Pictures) -> Tensor:
        """(B, K, h, w) float32 logits of (B, h, w, 3) uint8 pictures at their own size."""
        with torch.no_grad():
            found: Tensor = self.module(torch.from_numpy(pictures))
            return found

    def fits(self, size: tuple[int, int]) -> bool:
        """Whether a run over one picture of (height, width) is expected to fit in memory."""
        return fits_in_memory(size)


def program_bytes(program: torch.export.ExportedProgram, metadata: dict[str, str]) -> bytes:
    """The .pt2 file of a program, with the metadata as extra files."""
    buffer = io.BytesIO()
    torch.export.save(program, buffer, extra_files=metadata)
    return buffer.getvalue()


def program_engine(content: bytes, spec: ModelSpec) -> ProgramEngine:
    """The engine of a file that `program_bytes` made in this process.

    Without torch's guards: they also hold how the traced picture lay in memory, which other sizes need not share.
    """
    return ProgramEngine(spec, torch.export.load(io.BytesIO(content)).module(check_guards=False))
