"""DeconvNet: VGG-16 down to one cell and its mirror image back up, unpooling with the encoder's switches.

Paper: Noh, Hong, Han, "Learning Deconvolution Network for Semantic Segmentation", ICCV 2015, arXiv 1505.04366. Layers,
sizes and names come from the authors' release (training and DeconvNet_inference_deploy.prototxt). We had no copy of the
paper's text, so nothing here rests on the paper alone.

    224x224 - conv1 pool1 112 - conv2 pool2 56 - conv3 pool3 28 - conv4 pool4 14 - conv5 pool5 7 - fc6 (7x7) 1 - fc7 1
    fc6_deconv 7 - unpool5 14 deconv5 - unpool4 28 deconv4 - unpool3 56 deconv3 - unpool2 112 deconv2 -
    unpool1 224 deconv1

Batch normalisation and ReLU follow every convolution and transposed convolution except the last, seg_score_voc, which
is 1x1 without padding (some listings say padding 1; 224 in and 224 out allow only 0). There is no dropout.

Deviations, and why:
- Whole pictures of any size: padded with zeros at the bottom and right to multiples of 32 and at least 224. fc6 without
  padding takes off 6 cells, fc6_deconv restores them. The released system runs 224x224 crops of object proposals and
  combines them.
- Normalisation uses torch's eps of 1e-5, not 1e-9: most cells before a deconvolution are zero, and in a channel without
  variance 1e-9 multiplies rounding errors by 30,000. The released weights are folded (scale, shift) and lose nothing:
  with running_mean 0 and running_var 1 - eps they are exact.
- Statistics are running averages for evaluation; the release gathers them in 501 passes after training
  (`bn_statistics`).
- A single 224x224 picture in training mode leaves one value per channel at fc6 and fc7, which has no variance: the
  running statistics are used instead (layers.norm.normalised).
- From scratch the encoder, fc6 and fc7 have He initialisation; the paper starts them from ImageNet, as `pretrained`
  does here. Transposed convolutions and scores start as Gaussians of 0.01 and shifts at 0.001, as released;
  normalisation makes the scale of the layers before it irrelevant. Thin versions learn with it; the full network has
  not been trained here yet.

Expected: 69.6 mIoU on VOC 2012 test, with proposals and two training stages (paper; by the authors). On CamVid the
variant with 1024 channels has 59.8, trained on 3,433 pictures (SegNet, table 3; by SegNet's authors).
"""

from dataclasses import replace
from functools import partial

from torch import Tensor, nn
from torch.nn import functional as F

from denselab.encoders.stages import Stages, below
from denselab.encoders.vgg import FC6_KERNEL, FC_CHANNELS, VGG, VGG16, fill_vgg, vgg_parts
from denselab.encoders.weights import Weights
from denselab.layers.conv import kaiming_init
from denselab.layers.norm import normalised
from denselab.layers.pad import pad_to_multiple
from denselab.layers.unpool import MaxUnpool
from denselab.models.base import ModelEntry, ModelOptions, SegmentationModel
from denselab.models.release import Release

STRIDE = 32
SMALLEST = 224  # 7 cells of 32 pixels, as the 7x7 kernel of fc6 needs
DECONV_STD = 0.01  # release: weight_filler gaussian
SHIFT = 0.001  # release: shift_filler of every BN layer


class DeconvNet(SegmentationModel):
    """Encoder, fc6 and fc7 as convolutions, and the mirrored decoder; names as released, with "-" as "_".

    Block b of the decoder has as many layers as the encoder's block b and the same width, except that its last layer
    has the width of block b - 1.

    encoder: VGG16 with batch_norm and return_indices
    fc_channels: 4096, or 1024 in SegNet's benchmark
    """

    def __init__(self, encoder: VGG16, num_classes: int, fc_channels: int = FC_CHANNELS) -> None:
        super().__init__(num_classes)
        self.encoder = encoder
        top = encoder.blocks[-1][-1]
        self.fc6 = nn.Conv2d(top, fc_channels, FC6_KERNEL)
        self.bnfc6 = nn.BatchNorm2d(fc_channels)
        self.fc7 = nn.Conv2d(fc_channels, fc_channels, 1)
        self.bnfc7 = nn.BatchNorm2d(fc_channels)
        self.fc6_deconv = nn.ConvTranspose2d(fc_channels, top, FC6_KERNEL)
        self.fc6_deconv_bn = nn.BatchNorm2d(top)
        channels = top
        for b in range(len(encoder.blocks), 0, -1):
            self.add_module(f"unpool{b}", MaxUnpool())
            for i, out in enumerate(decoder_widths(encoder.blocks, b), 1):
                self.add_module(f"deconv{b}_{i}", nn.ConvTranspose2d(channels, out, 3, padding=1))
                self.add_module(f"debn{b}_{i}", nn.BatchNorm2d(out))
                channels = out
        self.seg_score_voc = nn.Conv2d(channels, num_classes, 1)
        self._initialise()

    def coarse_logits(self, images: Tensor) -> Tensor:
        """(B, K, H, W) logits, already at full size."""
        pool5, switches = self.encoder.forward_with_indices(pad_to_multiple(images, STRIDE, SMALLEST))
        x = F.relu(normalised(self.bnfc6, self.fc6(pool5)), inplace=True)
        x = F.relu(normalised(self.bnfc7, self.fc7(x)), inplace=True)
        x = F.relu(self.fc6_deconv_bn(self.fc6_deconv(x)), inplace=True)
        for b in range(len(self.encoder.blocks), 0, -1):
            x = self.get_submodule(f"unpool{b}")(x, *switches[f"pool{b}"])
            for i in range(1, len(self.encoder.blocks[b - 1]) + 1):
                x = self.get_submodule(f"debn{b}_{i}")(self.get_submodule(f"deconv{b}_{i}")(x))
                x = F.relu(x, inplace=True)
        logits: Tensor = self.seg_score_voc(x)
        return logits[..., : images.shape[-2], : images.shape[-1]]

    def pretrained_stages(self) -> Stages:
        """The encoder, plus fc6 and fc7 if they have ImageNet's 4096 channels."""
        classifier = (("fc6", "fc7"),) if self.fc6.out_channels == FC_CHANNELS else ()
        return below("encoder", self.encoder.weight_stages()) + classifier

    def landmarks(self) -> dict[str, str]:
        """What each unpooling spreads, and how each transposed convolution fills it in."""
        marks = {"fc6_deconv_bn": "fc6_deconv: the whole picture's 7x7 cells come back"}
        for b in range(len(self.encoder.blocks), 0, -1):
            marks[f"unpool{b}"] = f"unpool{b}: each value back at the place of its maximum"
            for i in range(1, len(self.encoder.blocks[b - 1]) + 1):
                marks[f"debn{b}_{i}"] = f"deconv{b}_{i}: the gaps are filled"
        return marks

    def _initialise(self) -> None:
        for layer in (self.fc6, self.fc7):
            kaiming_init(layer)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.constant_(module.bias, SHIFT)
            elif isinstance(module, nn.ConvTranspose2d) or module is self.seg_score_voc:
                nn.init.normal_(module.weight, std=DECONV_STD)
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]


def decoder_widths(blocks: tuple[tuple[int, ...], ...], b: int) -> tuple[int, ...]:
    """Output channels of decoder block b (1 is the last): 512, 512, 256 for block 4 of VGG-16; 64, 64 for block 1."""
    width, layers = blocks[b - 1][-1], len(blocks[b - 1])
    return (*(width,) * (layers - 1), blocks[max(b - 2, 0)][-1])


def load_vgg_weights(model: DeconvNet, weights: Weights, *, batch_norm: bool) -> None:
    """Load ImageNet VGG-16 weights into the encoder, fc6 and fc7 (the last two only at 4096 channels), as in the paper.

    batch_norm: the file is vgg16_bn's, and its normalisation is loaded too; with vgg16's, as in the paper, it starts
        fresh

    Raises CheckpointError naming the file if its contents do not fit.
    """
    (found, connected), encoder = vgg_parts(weights), model.encoder.get_submodule
    fill_vgg(weights, found, encoder, encoder if batch_norm else None)
    fitting = {name: pair for name, pair in connected.items() if len(pair[1]) == model.fc6.out_channels}
    fill_vgg(weights, fitting, model.get_submodule)


def build_deconvnet(options: ModelOptions, fc_channels: int = FC_CHANNELS) -> DeconvNet:
    """The paper's network, or the one of SegNet's benchmark with 1024 channels.

    options.encoder says whose ImageNet weights are loaded, if any.
    """
    encoder = VGG16(options.in_channels, batch_norm=True, return_indices=True)
    model = DeconvNet(encoder, options.num_classes, fc_channels)
    if options.weights is not None:
        load_vgg_weights(model, options.weights, batch_norm=options.encoder == "vgg16_bn")
    return model


PAPER = "Noh, Hong, Han: DeconvNet"
SEGNET = "Badrinarayanan, Kendall, Cipolla: SegNet"

PAPERS_OWN = ModelEntry(
    build=build_deconvnet,
    title="DeconvNet",
    paper=PAPER,
    year=2015,
    use="the mirrored VGG-16",
    encoders=VGG,
    release=Release((224, 224), "inside"),
    stages=("deconvnet",),
)

ENTRIES: dict[str, ModelEntry] = {
    "deconvnet": PAPERS_OWN,
    "deconvnet_1024": replace(
        PAPERS_OWN,
        build=partial(build_deconvnet, fc_channels=1024),
        title="DeconvNet, 1024 channels in fc6 and fc7",
        paper=SEGNET,
        stages=("deconvnet_1024",),
        year=2017,
        use="DeconvNet as SegNet's benchmark has it: a third of the weights",
    ),
}
