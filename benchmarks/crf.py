"""The dense CRF against pydensecrf's C++: time, error against the exact sum, peak memory, in one run.

Run: python benchmarks/crf.py --data CAMVID [--oracle FOLDER] [--rounds N] [--pictures N] [--only TABLE ...]
[--breakdown]

CAMVID is a folder of 360x480 road scenes with val/ and valannot/ (SegNet's layout). The oracle is pydensecrf2 1.1,
which needs
a compiler and is no dependency of DenseLab: `pip download --no-binary :all: --no-deps pydensecrf2==1.1`, unpack, and
`pip install --target FOLDER --no-deps ./pydensecrf2-1.1`. Without it the tables hold DenseLab alone.

On a processor with 512-bit vectors, these give the code of one that has AVX2 and FMA alone (the name by itself leaves
all instruction sets of the machine in use):
NUMBA_CPU_NAME=haswell NUMBA_CPU_FEATURES=+avx2,+fma

Speed: both sides in turn on the same picture, --row calls each (with one, the second core has slept and the caches
are the
other's: two threads then gain less), whole call: energies in, lattices built anew, marginals out; the ratio is the
median over
calls of (oracle / ours), "same" the share of pixels with the oracle's arg-max. "door" is denselab.crf.pydensecrf,
whose spatial term runs on the lattice as the oracle's.
Pictures of 720x960 are the same ones, enlarged. Probabilities imitate a network's: the label map, softened and with
noise
of several scales. Accuracy: crops of 60x80 at full detail against denselab.crf.exact in float64; mean absolute error
of the marginals and share of pixels with another arg-max. Fast: `infer_fast`, at half the resolution: full call / fast
call, in turn
on the same pictures of 360x480, and what it changes there. Memory: highest resident size during a call less that
before it, each in a process of its own that has done a small call before.
"""

import argparse
import datetime
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent))
from confusion import commit, hardware

from denselab.compiled.vectors import has_wide_registers
from denselab.crf import PRESETS, DenseCRF, Parameters, crf_for, exact, infer_fast
from denselab.crf import pydensecrf as door
from denselab.crf.memory import predicted_bytes

Picture = NDArray[np.uint8]
Floats = NDArray[np.float32]
Method = Callable[[], NDArray[Any]]
SIZES, LABELS, ITERATIONS = ((360, 480), (720, 960)), (12, 21), (5, 10)
CROP, CROPS = (60, 80), 7  # one of each of seven pictures: single ones differ by ten times
SCHEMES = {"none": 0, "before": 1, "after": 2, "symmetric": 3}  # pydensecrf's constants
EXAMPLE = PRESETS["pydensecrf"]


def main() -> None:
    """Print the tables that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="CamVid: val/ and valannot/")
    parser.add_argument("--oracle", type=Path, help="folder into which pydensecrf2 was installed with --target")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--pictures", type=int, default=3)
    parser.add_argument("--row", type=int, default=4, help="calls of one side in a row, then it is the other's turn")
    parser.add_argument("--breakdown", action="store_true", help="also: where the time of a call goes")
    parser.add_argument("--only", nargs="+", default=["speed", "accuracy", "fast", "memory"])
    parser.add_argument("--peak", nargs=4, help=argparse.SUPPRESS)  # a child of memory(): side, height, width, labels
    args = parser.parse_args()
    if args.oracle:
        sys.path.insert(0, str(args.oracle))
    if args.peak:
        print(peak(args.data, args.peak[0], *map(int, args.peak[1:])))
        return
    print(
        f"{datetime.date.today()}, commit {commit()}, {hardware()}, "
        f"registers of {512 if has_wide_registers() else 256} bits, oracle: "
        f"{'yes' if oracle_module() else 'not installed'}"
    )
    tables = {"speed": speed, "accuracy": accuracy, "fast": fast, "memory": memory}
    for name in args.only:
        tables[name](args)
    if args.breakdown:
        breakdown(args)


def speed(args: argparse.Namespace) -> None:
    """Whole calls, one and two threads, every size, number of labels and of iterations."""
    print(f"\nwhole call, ms; medians ({args.rounds} rounds of {args.row} calls, {args.pictures} pictures); (fastest)")
    names = (
        f"{'oracle':>15} {'1 thread':>15} {'2 threads':>15} {'x1':>5} {'x2':>5} {'same':>7} {'door x1':>8} {'same':>7}"
    )
    print(f"{'size':>9} {'L':>3} {'T':>3} {names}")
    for size in SIZES:
        for labels in LABELS:
            for iterations in ITERATIONS:
                speed_row(args, size, labels, iterations)


def speed_row(args: argparse.Namespace, size: tuple[int, int], labels: int, iterations: int) -> None:
    """One row: all methods in turn, picture by picture."""
    seconds: dict[str, list[float]] = {}
    same: dict[str, list[float]] = {"1": [], "door": []}
    for number in range(args.pictures):
        image, unary = case(args.data, number, size, labels)
        found = methods(image, unary, iterations)
        results = {name: method().reshape(labels, -1).argmax(0) for name, method in found.items()}  # also compiles
        if not np.array_equal(results["1"], results["2"]):
            raise SystemExit("two threads give another result than one")
        for name in same:
            same[name].append(float((results[name] == results.get("oracle", results["1"])).mean()))
        for _ in range(max(1, args.rounds // args.pictures)):
            for name, method in found.items():
                for _ in range(args.row):
                    start = time.perf_counter()
                    method()
                    seconds.setdefault(name, []).append(time.perf_counter() - start)
    cells = {
        name: f"{1e3 * statistics.median(values):.1f} ({1e3 * min(values):.1f})" for name, values in seconds.items()
    }
    base = seconds.get("oracle", [float("nan")] * len(seconds["1"]))
    ratios = {n: statistics.median(o / v for o, v in zip(base, seconds[n], strict=True)) for n in ("1", "2", "door")}
    shares = {name: f"{100 * min(values):.2f}%" for name, values in same.items()}
    print(
        f"{size[0]}x{size[1]:<5} {labels:>3} {iterations:>3} "
        f"{cells.get('oracle', '-'):>15} {cells['1']:>15} {cells['2']:>15} "
        f"{ratios['1']:>5.1f} {ratios['2']:>5.1f} {shares['1']:>7} {ratios['door']:>8.1f} {shares['door']:>7}"
    )


def methods(image: Picture, unary: Floats, iterations: int) -> dict[str, Method]:
    """Whole calls with pydensecrf's example parameters."""
    found: dict[str, Method] = {}
    if oracle_module():
        found["oracle"] = lambda: by_module(oracle_module(), image, unary, EXAMPLE, iterations)
    for threads in (1, 2):
        found[str(threads)] = lambda threads=threads: ours(image, unary, EXAMPLE, iterations, threads)  # type: ignore[misc]
    found["door"] = lambda: by_module(door, image, unary, EXAMPLE, iterations, threads=1)
    return found


def ours(image: Picture, unary: Floats, parameters: Parameters, iterations: int, threads: int = 1) -> Floats:
    """DenseLab's own interface."""
    crf = crf_for(image, len(unary), parameters, threads)
    crf.set_unary(unary)
    return crf.infer(iterations).marginals


def by_module(
    module: Any, image: Picture, unary: Floats, parameters: Parameters, iterations: int, threads: int | None = None
) -> Floats:
    """pydensecrf, or the door that has its interface."""
    labels, height, width = unary.shape
    crf, scheme = module.DenseCRF2D(width, height, labels), SCHEMES[parameters.normalization]
    if threads:
        crf._crf.threads = threads
    crf.setUnaryEnergy(unary.reshape(labels, -1))
    crf.addPairwiseGaussian(parameters.theta_gamma, parameters.w2, normalization=scheme)
    crf.addPairwiseBilateral(parameters.theta_alpha, parameters.theta_beta, image, parameters.w1, normalization=scheme)
    return np.array(crf.inference(iterations))


@cache
def oracle_module() -> Any:
    """pydensecrf.densecrf where it can be imported, else None."""
    try:
        import pydensecrf.densecrf as module
    except ImportError:
        return None
    return module


def accuracy(args: argparse.Namespace) -> None:
    """Error against the exact sum on crops of real pictures."""
    print(f"\nagainst the exact sum, {CROPS} crops of {CROP[0]}x{CROP[1]}: mean error of the marginals; other arg-max")
    print(
        f"{'preset':>11} {'L':>3} {'ours':>10} {'':>7} {'fast':>10} {'':>7} {'door':>10} {'':>7} {'oracle':>10} {'':>7}"
    )
    for name, parameters in PRESETS.items():
        for labels in (2, *LABELS):
            errors: dict[str, list[tuple[float, float]]] = {}
            for number in range(CROPS):
                image, unary = crop(args.data, number, labels)
                expected = truth(image, unary, parameters)
                results = {"ours": ours(image, unary, parameters, parameters.iterations)}
                results["fast"] = infer_fast(image, unary, parameters, 1)
                for key, module in (("door", door), ("oracle", oracle_module())):
                    if module:
                        results[key] = by_module(module, image, unary, parameters, parameters.iterations)
                for key, result in results.items():
                    errors.setdefault(key, []).append(difference(result.reshape(labels, -1), expected))
            cells = [f"{np.mean(v, 0)[0]:>10.2e} {100 * np.mean(v, 0)[1]:>6.2f}%" for v in errors.values()]
            print(f"{name:>11} {labels:>3} {' '.join(cells)}")


def difference(found: NDArray[Any], expected: NDArray[Any]) -> tuple[float, float]:
    """Mean absolute difference of marginals (L, ...), and the share of points with another arg-max."""
    return float(np.abs(found - expected).mean()), float((found.argmax(0) != expected.argmax(0)).mean())


def fast(args: argparse.Namespace) -> None:
    """Half the resolution against the full call, every preset."""
    print(
        f"\nfast against full at 360x480, {args.pictures} pictures: full / fast "
        f"in time; difference of the marginals; labels"
    )
    print(f"{'preset':>11} {'L':>3} {'T':>3} {'fast ms':>15} {'x1':>5} {'x2':>5} {'difference':>10} {'other':>7}")
    for name, parameters in PRESETS.items():
        for labels in LABELS:
            for iterations in ITERATIONS:
                fast_row(args, name, labels, replace(parameters, iterations=iterations))


def fast_row(args: argparse.Namespace, name: str, labels: int, parameters: Parameters) -> None:
    """One row: both calls in turn, one and two threads, picture by picture."""
    seconds, changes = np.empty((2, 2, 0)), []
    for number in range(args.pictures):
        image, unary = case(args.data, number, SIZES[0], labels)
        for round_number in range(1 + max(1, args.rounds // args.pictures)):
            times = []
            for threads in (1, 2):
                start = time.perf_counter()
                half = infer_fast(image, unary, parameters, threads)
                between = time.perf_counter()
                whole = ours(image, unary, parameters, parameters.iterations, threads)
                times.append((between - start, time.perf_counter() - between))
            if round_number:  # the first also compiles
                seconds = np.append(seconds, np.array(times)[:, :, None], axis=2)
        changes.append(difference(half, whole))
    ratios = np.median(seconds[:, 1] / seconds[:, 0], axis=1)
    cell = f"{1e3 * np.median(seconds[0, 0]):.1f} ({1e3 * seconds[0, 0].min():.1f})"
    changed, other = np.mean(changes, 0)
    print(
        f"{name:>11} {labels:>3} {parameters.iterations:>3} {cell:>15} {ratios[0]:>5.1f} {ratios[1]:>5.1f} "
        f"{changed:>10.2e} {100 * other:>6.2f}%"
    )


def truth(image: Picture, unary: Floats, parameters: Parameters) -> NDArray[np.float64]:
    """Exact marginals (L, N)."""
    height, width = image.shape[:2]
    spatial = exact.position_features(height, width, parameters.theta_gamma)
    bilateral = exact.bilateral_features(image, parameters.theta_alpha, parameters.theta_beta)
    terms = [
        exact.Term(spatial, parameters.w2, parameters.normalization),
        exact.Term(bilateral, parameters.w1, parameters.normalization),
    ]
    return exact.mean_field(unary.reshape(len(unary), -1), terms, parameters.iterations)


def memory(args: argparse.Namespace) -> None:
    """Peak memory of one call, in processes of their own; and what `refine_many` expects of `refine`, its input
    included."""
    print(
        "\nhighest resident size during a call less that before it, MiB; what "
        "denselab.crf.batch expects, input included"
    )
    print(f"{'size':>9} {'L':>3} {'ours':>8} {'oracle':>8} {'expected':>8}")
    for size in SIZES:
        for labels in LABELS:
            sides = ("1", *(["oracle"] if oracle_module() else []))
            cells = [child_peak(args, side, size, labels) for side in sides]
            cells.append(predicted_bytes(*size, labels, EXAMPLE) / 2**20)
            print(f"{size[0]}x{size[1]:<5} {labels:>3} {' '.join(f'{cell:>8.0f}' for cell in cells)}")


def child_peak(args: argparse.Namespace, side: str, size: tuple[int, int], labels: int) -> float:
    """MiB, from a fresh process."""
    command = [sys.executable, __file__, "--data", str(args.data), "--peak", side, *map(str, (*size, labels))]
    if args.oracle:
        command += ["--oracle", str(args.oracle)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def peak(data: Path, side: str, height: int, width: int, labels: int) -> float:
    """In the child: MiB by which one call raises the highest resident size (Linux)."""
    image, unary = case(data, 0, (height, width), labels)
    small_image, small_unary = image[:60, :80].copy(), unary[:, :60, :80].copy()
    methods(small_image, small_unary, 2)[side]()
    call = methods(image, unary, 5)[side]
    Path("/proc/self/clear_refs").write_text("5")
    before = resident("VmRSS")
    call()
    return (resident("VmHWM") - before) / 1024


def resident(name: str) -> int:
    """A field of /proc/self/status, KiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))


def breakdown(args: argparse.Namespace) -> None:
    """Where the time of a call goes, one and two threads: the fastest of the rounds for each part."""
    print(
        "\nparts of a call of 5 iterations, milliseconds (fastest): prepare = "
        "lattice and arrays; filter = blur and nodes"
    )
    print(
        f"{'size':>9} {'L':>3} {'threads':>7} {'energies':>8} {'prepare':>8} {'start':>8} {'filter':>8} {'passes':>8}"
    )
    for size in SIZES:
        for labels in LABELS:
            image, unary = case(args.data, 0, size, labels)
            for threads in (1, 2):
                rows = [parts_of(image, unary, threads) for _ in range(args.rounds + 1)]
                best = 1e3 * np.min(rows[1:], 0)
                print(f"{size[0]}x{size[1]:<5} {labels:>3} {threads:>7} " + " ".join(f"{part:>8.1f}" for part in best))


def parts_of(image: Picture, unary: Floats, threads: int, iterations: int = 5) -> tuple[float, ...]:
    """Seconds of: taking energies and terms, preparing, the first pass, all filters, all other passes."""
    clock, out = time.perf_counter, np.empty(unary.size, np.float32)
    begin = clock()
    crf: DenseCRF = crf_for(image, len(unary), EXAMPLE, threads)
    crf.set_unary(unary)
    taken = clock()
    field = crf._prepared()
    prepared = clock()
    field.start(crf._energies())
    started = clock()
    filtering = 0.0
    for i in range(iterations):
        before = clock()
        field._filter()
        filtering += clock() - before
        field._pass(1, out[:0], out if i == iterations - 1 else out[:0])
    return taken - begin, prepared - taken, started - prepared, filtering, clock() - started - filtering


@cache
def case(data: Path, number: int, size: tuple[int, int], labels: int) -> tuple[Picture, Floats]:
    """A picture of the size, and energies (L, H, W) as a network might give them."""
    names = sorted((data / "val").iterdir())
    name = names[number * len(names) // CROPS % len(names)]
    picture = Image.open(name).convert("RGB").resize(size[::-1], Image.Resampling.BICUBIC)
    truth_map = np.array(
        Image.open(data / "valannot" / f"{name.stem}.png").resize(size[::-1], Image.Resampling.NEAREST)
    )
    return np.array(picture), imitated(truth_map, labels, number)


def crop(data: Path, number: int, labels: int) -> tuple[Picture, Floats]:
    """A crop from the middle of a picture at its own resolution."""
    image, unary = case(data, number, SIZES[0], labels)
    top, left = 150, 180
    rows, columns = slice(top, top + CROP[0]), slice(left, left + CROP[1])
    return image[rows, columns].copy(), unary[:, rows, columns].copy()


def imitated(truth_map: NDArray[Any], labels: int, seed: int) -> Floats:
    """Energies -log p of a softened label map with smooth noise; classes beyond `labels` are folded back."""
    rng = np.random.default_rng(seed)
    height, width = truth_map.shape
    logits = np.zeros((labels, height, width), np.float32)
    np.put_along_axis(logits, (truth_map % labels)[None].astype(int), 3, 0)
    step = 8
    coarse = logits[:, step // 2 :: step, step // 2 :: step]  # what a stride of 8 leaves, enlarged
    noise = rng.normal(0, 1.2, coarse.shape).astype(np.float32)
    for label in range(labels):
        small = Image.fromarray(coarse[label] + noise[label])
        logits[label] = np.array(small.resize((width, height), Image.Resampling.BILINEAR))
    logits += rng.normal(0, 0.3, logits.shape).astype(np.float32)
    raised = np.exp(logits - logits.max(0))
    return -np.log(np.maximum(raised / raised.sum(0), 1e-5))


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
