"""Training steps per second: DenseLab's step against a plain PyTorch loop around segmentation_models.pytorch.

Same architecture (DeepLabV3+, both with two convolutions in the decoder), encoder and its ImageNet weights, size,
batch, optimiser, loss and pictures; CPU or CUDA. The plain loop computes in float32; DenseLab in what `denselab train`
would choose, or in --precision. Each side lives in a process of its own, since the allocator setting is the process's;
the parent lets them run in turn, so that a busy machine slows both. Printed: the median of the rounds' ratios,
hardware, commit, date.

    pip install segmentation-models-pytorch 'denselab[weights]'
    python benchmarks/training.py --size 192x256 --batch 8 --rounds 9
"""

import argparse
import copy
import json
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

CLASSES = 11
STEPS = 4  # per round


def first_weights(encoder: str) -> dict[str, Any]:
    """The encoder's weights from an installed package, by timm's names; empty if there are none."""
    from denselab.build import encoder_weights
    from denselab.encoders.packaged import installed_encoders

    if encoder not in installed_encoders():
        return {}
    found = encoder_weights("deeplabv3plus", encoder, "auto")
    return {} if found is None else dict(found.tensors)


def plain_step(encoder: str, batch: int, size: tuple[int, int], device: str) -> Callable[[], None]:
    """What a script around segmentation_models.pytorch does in a step."""
    import segmentation_models_pytorch as smp
    import torch
    import torch.nn.functional as F

    model = smp.DeepLabV3Plus(f"tu-{encoder}", encoder_weights=None, classes=CLASSES)
    # Its decoder has one separable convolution, the paper's and ours have two: behind ASPP stands one of the same size.
    model.decoder.block2.extend(copy.deepcopy(model.decoder.aspp[1:]))
    if weights := first_weights(encoder):
        left_out = model.encoder.model.load_state_dict(weights, strict=False)
        assert not left_out.missing_keys, left_out.missing_keys
    model = model.to(device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    images = torch.rand(batch, 3, *size, device=device)
    labels = torch.randint(0, CLASSES, (batch, *size), device=device)

    def step() -> None:
        loss = F.cross_entropy(model(images), labels, ignore_index=255)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss.item()

    return step


def denselab_step(
    encoder: str, batch: int, size: tuple[int, int], device: str, precision: str | None
) -> Callable[[], None]:
    """What `denselab train` does in a step."""
    from denselab.runtime import keep_freed_memory

    keep_freed_memory()
    import torch

    from denselab.build import create_model, encoder_weights
    from denselab.config import LossTerm, make_settings
    from denselab.data.feed.loading import Batch
    from denselab.engine.spec import Preprocessing
    from denselab.losses import create_loss, loss_with_auxiliary
    from denselab.training.optim import make_optimizer
    from denselab.training.recipe import Facts, choose_recipe
    from denselab.training.run import make_accelerator
    from denselab.training.step import Stepper, TrainOutputs, train_step

    given = {
        "data": "-",
        "imgsz": size,
        "epochs": 1,
        "encoder": encoder,
        "device": device,
        "precision": precision,
        "lr": 1e-3,
        "optimizer": "adamw",  # the plain loop's; the recipe's own takes longer and learns more
    }
    settings = make_settings(given)
    facts = Facts(batch, size, CLASSES, device="cpu", cores=1, normalised=True, score_inputs=256)
    config, _ = choose_recipe(settings, facts, None)
    accelerator = make_accelerator(settings)
    pretrained = encoder_weights("deeplabv3plus", encoder, "auto") if first_weights(encoder) else "no"
    model = create_model("deeplabv3plus", CLASSES, encoder=encoder, pretrained=pretrained or "no")
    model = model.to(accelerator.device).to(memory_format=torch.channels_last).train()
    network, optimizer = accelerator.prepare(TrainOutputs(model), make_optimizer(model, config))
    loss = create_loss([LossTerm(name="cross-entropy")], CLASSES)
    preprocessing = Preprocessing(size, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    stepper = Stepper(
        accelerator,
        network,
        optimizer,
        lambda logits, labels, weights: loss_with_auxiliary(loss, logits, labels, pixel_weights=weights),
        preprocessing,
        clip_norm=0.0,
    )
    images = torch.randint(0, 256, (batch, 3, *size), dtype=torch.uint8).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(0, CLASSES, (batch, *size), dtype=torch.uint8)
    ready = Batch(images, labels, ("noise",) * batch, tuple(range(batch)))
    return lambda: (train_step(stepper, [ready], 0, 0), None)[1]


def serve(side: str, encoder: str, batch: int, size: tuple[int, int], device: str, precision: str | None) -> None:
    """Run a round of steps for each line that comes in; answer with its seconds."""
    common = (encoder, batch, size, device)
    step = plain_step(*common) if side == "plain" else denselab_step(*common, precision)
    for _ in range(3):
        step()
    print("ready", flush=True)
    for _ in sys.stdin:
        started = time.perf_counter()
        for _ in range(STEPS):
            step()
        print(json.dumps(time.perf_counter() - started), flush=True)


def main() -> None:
    """Compare the two sides."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", default="tf_efficientnet_lite0")
    parser.add_argument("--size", default="192x256")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", choices=["no", "bf16"], help="of DenseLab's step")
    parser.add_argument("--side", choices=["plain", "denselab"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    height, width = map(int, options.size.split("x"))
    if options.side:
        serve(options.side, options.encoder, options.batch, (height, width), options.device, options.precision)
        return
    sides = {}
    for side in ("plain", "denselab"):
        command = [sys.executable, __file__, *sys.argv[1:], "--side", side]
        sides[side] = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    for process in sides.values():
        while process.stdout.readline().strip() != "ready":
            pass
    seconds: dict[str, list[float]] = {side: [] for side in sides}
    for _ in range(options.rounds):
        for side, process in sides.items():
            process.stdin.write("go\n")
            process.stdin.flush()
            seconds[side].append(float(process.stdout.readline()))
    for process in sides.values():
        process.stdin.close()
        process.wait()
    for side, values in seconds.items():
        print(
            f"{side:9} {STEPS / statistics.median(values):.2f} steps/s (median of {options.rounds} rounds of {STEPS})"
        )
    ratios = [plain / ours for plain, ours in zip(seconds["plain"], seconds["denselab"], strict=True)]
    print(
        f"ratio {statistics.median(ratios):.2f}x in the median of paired "
        f"rounds ({min(ratios):.2f} to {max(ratios):.2f})"
    )
    from denselab.training.precision import default_precision
    from denselab.training.records import describe_environment

    facts = describe_environment(options.device, 1)
    print(
        f"DeepLabV3+ {options.encoder}, batch {options.batch}, {options.size}; "
        f"DenseLab's precision: {options.precision or default_precision(options.device)}; "
        f"{platform.processor() or platform.machine()}, "
        f"{facts['cores']} cores, {facts['instructions']}; torch {facts['versions']['torch']}; "
        f"commit {facts['commit']}; {facts['started'][:10]}"
    )


if __name__ == "__main__":
    main()
