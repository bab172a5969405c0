"""The pictures of docs/lineage.md, made anew: small networks trained for minutes on drawn scenes, looked into.

    python docs/lineage_pictures.py --runs runs/lineage [--minutes 3] [--only skips aspp]

Trained networks stay in --runs; a second call draws from them at once.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from drawing import options, write
from numpy.typing import NDArray
from PIL import Image as PILImage
from PIL import ImageDraw
from scipy import ndimage
from torch import Tensor, nn
from torch.nn import functional as F

import denselab as dl
from denselab.data.draw.synthetic import SYNTHETIC_LABELS, draw_scene
from denselab.data.resizing.resize import resize_image
from denselab.data.weak_labels import Box
from denselab.engine.folder import load_engine
from denselab.engine.torch_engine import TorchEngine
from denselab.inference import Predictor
from denselab.inspection.receptive import effective_receptive_field
from denselab.layers.conv import kaiming_init
from denselab.layers.pad import mirror_pad
from denselab.layers.upsample import bilinear_kernel
from denselab.proposals.boxes import overlaps
from denselab.regions.search import find_segments
from denselab.run_folder import SUMMARY, has_state
from denselab.visualize import colour_map, encode_png, grid, heat_map, overlay
from denselab.weak.boxes import cut_outs, pasted, rectangles
from denselab.weak.candidates import SEARCH

OUT = Path(__file__).parent / "images" / "lineage"
SCENE = 100_003  # a held-out scene: training draws the numbers below 100,000
NETWORKS = {  # name in --runs: model, settings beyond the default recipe
    "fcn8s": {"model": "fcn8s", "encoder": "resnet18"},
    "bayesian": {"model": "bayesian_segnet_basic"},
    "deeplabv3plus": {"model": "deeplabv3plus"},
}

Picture = NDArray[np.uint8]


def main() -> None:
    """Train what is missing, draw every picture."""
    parser = options(__doc__, PICTURES)
    parser.add_argument("--runs", type=Path, default=Path("runs/lineage"), help="where trained networks are kept")
    parser.add_argument("--minutes", type=float, default=3, help="training time of each network")
    arguments = parser.parse_args()
    write(PICTURES, arguments.only, f"{OUT}/{{}}.png", encode_png, arguments.runs, arguments.minutes)


def trained(name: str, runs: Path, minutes: float) -> TorchEngine:
    """The network of that name, trained on 400 drawn scenes, or read from an earlier call."""
    if not (runs / name / SUMMARY).is_file():
        settings = {"pretrained": "no", **NETWORKS[name]}
        dl.train(
            "synthetic",
            out=runs / name,
            time=f"{minutes}m",
            imgsz=(96, 128),
            resume=has_state(runs / name),
            **settings,
        )
    return load_engine(runs / name, "cpu")


def outputs(engine: TorchEngine, image: Picture, paths: list[str]) -> dict[str, Tensor]:
    """{module path: (C, h, w)} of the named modules while the picture runs through."""
    found: dict[str, Tensor] = {}

    def keep(path: str) -> Callable[[nn.Module, object, Tensor], None]:
        return lambda module, inputs, output: found.__setitem__(path, output[0].detach())

    handles = [engine.network.get_submodule(path).register_forward_hook(keep(path)) for path in paths]
    Predictor(engine).labels(image)
    for handle in handles:
        handle.remove()
    return found


def scene(height: int = 96, width: int = 128, number: int = SCENE) -> Picture:
    """A held-out scene."""
    return draw_scene(number, height, width)[0]


def labels_of(scores: Tensor, size: tuple[int, int] | None = None) -> Picture:
    """Class colours of the arg-max of (K, h, w) scores, as they are: one block per cell."""
    labels = scores.argmax(dim=0).to(torch.uint8).numpy()
    return colour_map(labels, SYNTHETIC_LABELS)


def strongest(activation: Tensor) -> Picture:
    """The mean of the channels' magnitude of a (C, h, w) activation as a heat map."""
    values = activation.abs().mean(dim=0).numpy()
    return heat_map(values, 0.0, float(np.quantile(values, 0.995)))


def enlarged(picture: Picture, size: tuple[int, int]) -> Picture:
    """The picture in blocks, at that size."""
    return np.asarray(PILImage.fromarray(picture).resize((size[1], size[0]), PILImage.Resampling.NEAREST))


def heatmap(runs: Path, minutes: float) -> Picture:
    """A classifier of 40x40 windows (what lies at their centre), trained for a minute, convolutionalised."""
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for before, after in ((3, 32), (32, 64), (64, 128)):
        layers += [nn.Conv2d(before, after, 3), nn.ReLU(), nn.Conv2d(after, after, 3), nn.ReLU(), nn.MaxPool2d(2)]
    classes = SYNTHETIC_LABELS.num_classes
    classifier = nn.Sequential(
        *layers[:-1], nn.Flatten(), nn.Linear(128 * 3 * 3, 256), nn.ReLU(), nn.Linear(256, classes)
    )
    side = 40
    kaiming_init(classifier)
    optimiser = torch.optim.Adam(classifier.parameters(), 1e-3)
    generator = np.random.default_rng(0)
    for step in range(round(300 * minutes)):
        windows, targets = [], []
        image, ids = draw_scene(step, 192, 256)
        for _ in range(48):
            y, x = generator.integers(0, 192 - side), generator.integers(0, 256 - side)
            target = int(ids[y + side // 2, x + side // 2])
            if target < classes:
                windows.append(image[y : y + side, x : x + side])
                targets.append(target)
        loss = F.cross_entropy(classifier(_batch(np.stack(windows))), torch.tensor(targets))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    dense = dl.convolutionalize(classifier.eval(), side)
    image = scene(192, 256)
    with torch.no_grad():
        probs = dense(_batch(image[None])).softmax(dim=1)[0]
    present = probs.flatten(1).max(dim=1).values.argsort(descending=True)[:3]
    names = [entry.name for entry in SYNTHETIC_LABELS.classes]
    maps = [heat_map(probs[c].numpy()) for c in present]
    return grid(
        [image, *maps], ["picture", *(f"{names[c]}: {probs.shape[1]}x{probs.shape[2]} windows" for c in present)]
    )


def _batch(images: Picture) -> Tensor:
    return torch.tensor(images).permute(0, 3, 1, 2).float() / 127.5 - 1


def enlarging(runs: Path, minutes: float) -> Picture:
    """Two coarse values enlarged by nearest neighbour, by bilinear and by an arbitrary learnt kernel."""
    coarse = torch.zeros(1, 1, 4, 6)
    coarse[0, 0, 1, 1], coarse[0, 0, 2, 4] = 1.0, 0.6
    nearest = torch.ones(1, 1, 8, 8)
    kernels = {"nearest: a kernel of ones": nearest, "bilinear: FCN's start": bilinear_kernel(16)[None, None]}
    torch.manual_seed(2)
    rough = F.interpolate(torch.rand(1, 1, 5, 5), size=(16, 16), mode="bicubic", align_corners=True)
    kernels["any other kernel can be learnt"] = rough.clamp(0) * bilinear_kernel(16)[None, None] * 1.6
    pictures = [enlarged(heat_map(coarse[0, 0].numpy()), (128, 192))]
    for kernel in kernels.values():
        pad = (kernel.shape[-1] - 8) // 2
        fine = F.conv_transpose2d(coarse, kernel, stride=8, padding=pad)
        pictures.append(enlarged(heat_map(fine[0, 0].numpy()), (128, 192)))
    return grid(pictures, ["4x6 values", *kernels])


def skips(runs: Path, minutes: float) -> Picture:
    """FCN's score maps: stride 32, then with pool4, then with pool3."""
    engine, image = trained("fcn8s", runs, minutes), scene()
    found = outputs(engine, image, ["score_fr", "fuse_stride16", "fuse_stride8"])
    captions = ["stride 32: score_fr", "with stride 16", "with stride 8", "enlarged by 8"]
    final = colour_map(Predictor(engine).labels(image), SYNTHETIC_LABELS)
    cropped = [
        labels_of(found[name])[: 96 // stride, : 128 // stride] for name, stride in zip(found, (32, 16, 8), strict=True)
    ]
    return grid(
        [image, *(enlarged(p, (96, 128)) for p in cropped), final], ["picture", *captions], columns=5, cell_width=240
    )


def atrous(runs: Path, minutes: float) -> Picture:
    """Effective receptive fields of LargeFOV's trunk with fc6 at rates 1, 4 and 12; random weights, noise as
    picture."""
    pictures = []
    for rate in (1, 4, 12):
        torch.manual_seed(0)
        model = dl.create_model("deeplab_largefov", num_classes=3)
        fc6 = model.get_submodule("encoder.fc6")
        assert isinstance(fc6, nn.Conv2d)
        fc6.dilation = fc6.padding = (rate, rate)
        nn.init.normal_(model.get_submodule("fc8").weight, std=0.01)  # type: ignore[arg-type]
        field = effective_receptive_field(model.eval(), torch.randn(1, 3, 321, 449), (160, 224))
        smooth = F.avg_pool2d(field[None, None], 9, 1, 4)[0, 0].sqrt().numpy()
        pictures.append(heat_map(smooth / smooth.max()))
    return grid(pictures, [f"fc6 at rate {rate}" for rate in (1, 4, 12)])


def patches(runs: Path, minutes: float) -> Picture:
    """Windows of 32 pixels around every 8th pixel: three of them, and how often each pixel is computed."""
    image = scene()
    marked = image
    for left in (40, 48, 56):
        marked = framed(marked, (32, left, 32, 32))
    count = np.zeros((96, 128))
    for top in range(4 - 16, 96 - 16, 8):
        for left in range(4 - 16, 128 - 16, 8):
            count[max(top, 0) : top + 32, max(left, 0) : left + 32] += 1
    captions = [
        "three windows of 32, 8 pixels apart",
        f"each pixel computed {int(count.max())} times",
        "as a whole: once",
    ]
    return grid([marked, heat_map(count, 0, 20), heat_map(np.ones((96, 128)), 0, 20)], captions)


def pyramid(runs: Path, minutes: float) -> Picture:
    """Effective receptive fields of ASPP's four branches on VGG-16; random weights, noise as picture."""
    torch.manual_seed(0)
    model = dl.create_model("deeplabv2_vgg", num_classes=3)
    branches = [f"fc8_{i}" for i in (1, 2, 3, 4)]
    images = torch.randn(1, 3, 481, 641)
    pictures = []
    for shown in branches:
        for name in branches:
            nn.init.normal_(model.get_submodule(name).weight, std=0.01 if name == shown else 0.0)  # type: ignore[arg-type]
        field = effective_receptive_field(model.eval(), images, (240, 320))
        smooth = F.avg_pool2d(field[None, None], 9, 1, 4)[0, 0].sqrt().numpy()
        pictures.append(heat_map(smooth / smooth.max()))
    return grid(pictures, [f"branch at rate {rate}" for rate in (6, 12, 18, 24)])


def overlap_tile(runs: Path, minutes: float) -> Picture:
    """A tile with its mirrored border, and the part that is answered for."""
    image = scene(192, 256)
    margin = 46  # half of the paper's 92: the picture is half as large as its
    tensor = torch.tensor(image).permute(2, 0, 1)[None]
    mirrored = mirror_pad(tensor, margin, margin, margin, margin)[0].permute(1, 2, 0).numpy().copy()
    tile = (slice(0, 96 + 2 * margin), slice(0, 128 + 2 * margin))
    pictures = [image, framed(mirrored, (margin, margin, 96, 128)), mirrored[tile], image[:96, :128]]
    return grid(pictures, ["picture", "mirrored border, one tile", "what the network gets", "what it answers for"])


def framed(image: Picture, box: tuple[int, int, int, int]) -> Picture:
    """A copy with a frame around (top, left, height, width)."""
    top, left, height, width = box
    result = image.copy()
    for rows in (slice(top, top + 2), slice(top + height - 2, top + height)):
        result[rows, left : left + width] = (255, 45, 85)
    for columns in (slice(left, left + 2), slice(left + width - 2, left + width)):
        result[top : top + height, columns] = (255, 45, 85)
    return result


def unpooling(runs: Path, minutes: float) -> Picture:
    """SegNet-Basic's decoder after each unpooling and each convolution."""
    engine, image = trained("bayesian", runs, minutes), scene()
    paths = list(engine.network.landmarks())
    found = outputs(engine, image, paths)
    pictures = [enlarged(strongest(found[p]), (192, 256)) for p in paths[:-1]]
    captions = [f"{p.removesuffix('_bn')}: {found[p].shape[1]}x{found[p].shape[2]}" for p in paths[:-1]]
    scores = enlarged(labels_of(found[paths[-1]]), (192, 256))
    return grid([*pictures, scores], [*captions, "arg-max of the scores"], columns=5, cell_width=240)


def uncertainty(runs: Path, minutes: float) -> Picture:
    """Bayesian SegNet-Basic: mean and variance of 20 samples."""
    predictor = dl.Predictor(trained("bayesian", runs, minutes))
    image, truth = draw_scene(SCENE)
    result = predictor(image, uncertainty=True)
    spread = np.asarray(result.uncertainty)
    captions = ["picture", "truth", "mean of 20 samples", "their variance"]
    panels = [image, colour_map(truth, SYNTHETIC_LABELS), overlay(image, result.labels, SYNTHETIC_LABELS, 0.7)]
    return grid([*panels, heat_map(spread, 0, float(np.quantile(spread, 0.995)))], captions)


def aspp(runs: Path, minutes: float) -> Picture:
    """What the branches of DeepLabV3+'s ASPP respond to: the 1x1 convolution, then three rates."""
    engine, image = trained("deeplabv3plus", runs, minutes), scene()
    paths = ["aspp.aspp0", *(f"aspp.aspp{i}_pointwise" for i in (1, 2, 3))]
    found = outputs(engine, image, paths)
    captions = ["picture", "1x1", *(f"3x3, rate {rate}" for rate in (6, 12, 18))]
    maps = [enlarged(strongest(found[p]), (96, 128)) for p in paths]
    return grid([image, *maps], captions, columns=5, cell_width=240)


def decoder(runs: Path, minutes: float) -> Picture:
    """DeepLabV3+: what comes from the depth, what from stride 4, and both together."""
    engine, image = trained("deeplabv3plus", runs, minutes), scene()
    found = outputs(engine, image, ["aspp", "feature_projection0", "decoder_conv1", "logits"])
    maps = [resize_image(strongest(found[p]), (96, 128)) for p in ("aspp", "feature_projection0", "decoder_conv1")]
    final = colour_map(Predictor(engine).labels(image), SYNTHETIC_LABELS)
    captions = ["picture", "ASPP, stride 16", "low level, stride 4", "decoder, stride 4", "prediction"]
    return grid([image, *maps, final], captions, columns=5, cell_width=240)


def things(
    number: int, names: tuple[str, ...] = ("vehicle", "sign", "building", "tree")
) -> tuple[Picture, list[Box], list[int]]:
    """A held-out scene, and the boxes and classes of its things, by connected regions."""
    image, labels = draw_scene(number, 192, 256)
    classes = [index for index, name in enumerate(SYNTHETIC_LABELS.names) if name in names]
    boxes, indices = [], []
    for index in classes:
        parts, _ = ndimage.label(labels == index)
        for rows, columns in ndimage.find_objects(parts):
            box = Box(index, rows.start, columns.start, rows.stop, columns.stop)
            if box.area >= 150:
                boxes.append(box)
                indices.append(index)
    return image, boxes, indices


def outlined(image: Picture, boxes: list[Box], indices: list[int]) -> Picture:
    """The picture with boxes in the colours of their classes."""
    canvas = PILImage.fromarray(image)
    pen = ImageDraw.Draw(canvas)
    for box, index in zip(boxes, indices, strict=True):
        colour = tuple(int(level) for level in SYNTHETIC_LABELS.palette[index])
        pen.rectangle((box.left, box.top, box.right - 1, box.bottom - 1), outline=colour, width=2)
    return np.array(canvas)


def weak(runs: Path, minutes: float) -> Picture:
    """Boxes on a scene, the same filled, and cut out by the dense CRF."""
    image, boxes, indices = things(SCENE + 3)
    nothing = SYNTHETIC_LABELS.ignore_index
    filled = rectangles(boxes, indices, image.shape[:2], nothing)
    cut = pasted(boxes, indices, cut_outs(image, boxes), image.shape[:2], nothing)
    maps = [overlay(image, labels, SYNTHETIC_LABELS, 0.8) for labels in (filled, cut)]
    return grid([outlined(image, boxes, indices), *maps], ["boxes", "filled", "cut out"], columns=3)


def boxsup(runs: Path, minutes: float) -> Picture:
    """The largest box of a scene, and the five segments whose own boxes fit it best."""
    image, boxes, indices = things(SCENE + 3, ("vehicle", "tree"))
    largest = max(range(len(boxes)), key=lambda number: boxes[number].area)
    box, index = boxes[largest], indices[largest]
    segments = find_segments(image, SEARCH)
    corners = np.array([[box.top, box.left, box.bottom, box.right]])
    best = np.argsort(-overlaps(segments.boxes, corners)[:, 0], kind="stable")[:5]
    panels = [outlined(image, [box], [index])]
    for number in best:
        panels.append(np.where(segments.mask(int(number))[..., None], image, image // 4 + 160).astype(np.uint8))
    captions = ["a box", *(f"IoU {overlaps(segments.boxes[[n]], corners)[0, 0]:.2f}" for n in best)]
    return grid(panels, captions, columns=3)


PICTURES: dict[str, Callable[[Path, float], Picture]] = {
    "heatmap": heatmap,
    "enlarging": enlarging,
    "skips": skips,
    "atrous": atrous,
    "patches": patches,
    "pyramid": pyramid,
    "overlap_tile": overlap_tile,
    "unpooling": unpooling,
    "uncertainty": uncertainty,
    "aspp": aspp,
    "decoder": decoder,
    "weak": weak,
    "boxsup": boxsup,
}

if __name__ == "__main__":
    main()
