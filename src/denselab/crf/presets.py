"""Named parameter sets: what each system's dense CRF was run with.

theta_alpha and theta_beta are the bilateral term's deviations in pixels and in colour 0..255, w1 its weight; theta_gamma and
w2 are those of the spatial term (Krähenbühl and Koltun, NIPS 2011, equation 3). Weights mean something only together with
the normalisation. All thetas are in pixels of the picture that the CRF runs on: at half the size, halve alpha and gamma.
"""

from dataclasses import dataclass
from difflib import get_close_matches

from denselab.crf.permutohedral import Normalization
from denselab.errors import ConfigError


@dataclass(frozen=True)
class Parameters:
    """One setting of the two-term CRF of the papers; iterations: mean-field updates."""

    theta_alpha: float
    theta_beta: float
    w1: float
    theta_gamma: float
    w2: float
    iterations: int
    normalization: Normalization


PRESETS: dict[str, Parameters] = {
    # DeepLab v1's run script (train-DeepLab, run_densecrf.sh); its library divides after filtering.
    "deeplab_v1": Parameters(49, 5, 4, 3, 3, 10, "after"),
    # kazuto1011/deeplab-pytorch, ResNet-101 on VOC: "std" 1 and weight 3, on top of pydensecrf.
    "deeplab_v2": Parameters(67, 3, 4, 1, 3, 10, "symmetric"),
    # DeconvNet's inference script, on meanfield-matlab, which does not normalise: the same weights are far stronger there.
    "deconvnet": Parameters(20, 3, 5, 3, 3, 10, "none"),
    # The values of pydensecrf's README and example.
    "pydensecrf": Parameters(80, 13, 10, 3, 3, 5, "symmetric"),
}


def preset(name: str) -> Parameters:
    """The parameters of that name; an unknown name is refused with the closest ones."""
    if name not in PRESETS:
        near = get_close_matches(name, PRESETS, n=2)
        hint = f"did you mean {' or '.join(near)}? " if near else ""
        raise ConfigError(f"no CRF preset is called {name!r}; {hint}presets: {', '.join(PRESETS)}")
    return PRESETS[name]
