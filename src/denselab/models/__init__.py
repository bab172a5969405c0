"""The networks by name: each file in this folder lists its own in ENTRIES; build.py turns a name into a network."""

from denselab.models import (
    deconvnet,
    deeplab_v1,
    deeplab_v2,
    deeplab_v3,
    deeplab_v3plus,
    fcn,
    msra_cfm,
    patchwise,
    pixelwise,
    segnet,
    torchvision_forms,
    unet,
)
from denselab.models.base import ModelEntry

MODELS: dict[str, ModelEntry] = {
    **patchwise.ENTRIES,
    **pixelwise.ENTRIES,
    **fcn.ENTRIES,
    **deeplab_v1.ENTRIES,
    **unet.ENTRIES,
    **deconvnet.ENTRIES,
    **segnet.ENTRIES,
    **msra_cfm.ENTRIES,
    **deeplab_v2.ENTRIES,
    **deeplab_v3.ENTRIES,
    **deeplab_v3plus.ENTRIES,
    **torchvision_forms.ENTRIES,
}
