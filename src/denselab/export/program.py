"""The network with everything before it as one graph: picture bytes in, logits at their size out."""

import warnings

import torch
from torch import Tensor, nn

from denselab.engine.graph_engine import COARSE, coarse_name
from denselab.engine.spec import ModelSpec
from denselab.engine.torch_engine import TorchEngine, forward_images, network_input
from denselab.errors import ConfigError
from denselab.models.base import SegmentationModel
from denselab.models.regional import RegionalModel

TRACED = (2, 67, 83)  # batch, height, width: no multiple of a stride, so that the general way of each network is traced


class Deployed(nn.Module):
    """A network behind its own preprocessing: (B, H, W, 3) uint8 RGB pictures to (B, K, H, W) float32 logits.

    Pictures of other bands are (B, H, W, C), uint8 or float32 (types.Pixels).
    coarse: the logits before their enlargement are a second result.
    """

    def __init__(self, network: SegmentationModel, spec: ModelSpec, coarse: bool = False) -> None:
        super().__init__()
        self.network = network
        self.preprocessing = spec.preprocessing
        self.coarse = coarse

    def forward(self, pictures: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        images = pictures.permute(0, 3, 1, 2)
        height, width = images.shape[-2:]
        if not self.coarse:
            return forward_images(self.network, images, self.preprocessing, pictures.device)
        coarse = self.network.coarse_logits(network_input(images, self.preprocessing, pictures.device))
        return self.network.enlarge(coarse, (height, width)).float(), coarse.float()


def coarse_factor(engine: TorchEngine) -> int | None:
    """The factor of a network's last enlargement, where a graph can give the logits before it; None otherwise."""
    factor = engine.enlarged_by
    return factor if factor is not None and COARSE.fullmatch(coarse_name(factor)) else None


def exported_program(engine: TorchEngine, coarse: bool = False) -> torch.export.ExportedProgram:
    """The engine's network as torch.export's graph, for any batch, height and width.

    coarse: the logits before their enlargement are a second result; only where `coarse_factor` gives one.
    Raises ConfigError, in words, for a network that cannot leave torch.
    """
    refuse_crf_layer(engine.spec)
    refuse_regions(engine)
    module = Deployed(engine.network, engine.spec, coarse).cpu().eval()
    dynamic = torch.export.Dim.DYNAMIC
    bands = engine.spec.preprocessing.bands
    dtype = torch.float32 if bands is not None and bands.real else torch.uint8
    example = torch.zeros((*TRACED, engine.spec.architecture.in_channels), dtype=dtype)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return torch.export.export(module, (example,), dynamic_shapes=({0: dynamic, 1: dynamic, 2: dynamic},))
        except Exception as error:  # of several kinds without a common base, for a network that others wrote
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise ConfigError(
                f"{engine.spec.architecture.name} cannot be traced for pictures of any size: {reason}. Its forward may "
                "not turn sizes into numbers, nor decide by what a tensor holds"
            ) from error


def refuse_regions(engine: TorchEngine) -> None:
    """Raise ConfigError for a network that cuts the picture into regions."""
    if isinstance(engine.network, RegionalModel):
        raise ConfigError(
            f"{engine.spec.architecture.name} cuts each picture into regions: no operators of ONNX, OpenVINO "
            "or torch.export describe that. Run it with torch (`denselab predict`), or export another model"
        )


def refuse_crf_layer(spec: ModelSpec) -> None:
    """Raise ConfigError for a network with a CRF layer."""
    if spec.architecture.crf_layer is not None:
        raise ConfigError(
            "the model has a CRF layer, whose lattice is built anew from the colours of each picture: no operators of "
            "ONNX, OpenVINO or torch.export describe it. Train without `crf_layer`, export that, and refine its "
            "probabilities with `denselab refine`"
        )
