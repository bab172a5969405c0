"""Films in, label films out: every frame with its time, ids without loss."""

import csv
import json
import struct
import sys
import tracemalloc
from dataclasses import replace
from fractions import Fraction
from pathlib import Path, PurePosixPath
from threading import Barrier, BrokenBarrierError

import numpy as np
import pytest
from PIL import Image as PILImage

from denselab import __version__
from denselab.engine.spec import ModelSpec
from denselab.engine.torch_engine import TorchEngine
from denselab.errors import ConfigError, DataError, ResourceError
from denselab.inference import film as film_module
from denselab.inference import job as made_from
from denselab.inference.film import FilmWriter, open_film, split_films
from denselab.inference.inputs import Source, find_sources
from denselab.inference.job import Job
from denselab.inference.plan import plan_for
from denselab.inference.run import labels_of
from denselab.inference.smoothing import Smooth
from denselab.inference.stores import LocalPlace
from denselab.inference.video import FilmOptions, FramePredictor, predict_films, predict_frames

av = pytest.importorskip("av")

MEAN = FilmOptions(smooth="mean")
TIMES = (0.0, 0.04, 0.08, 0.2, 0.24, 0.5)  # seconds: no even rate


def scene(number: int, size: tuple[int, int] = (33, 47)) -> np.ndarray:
    """Red on the left, blue on the right; the border moves."""
    image = np.zeros((*size, 3), np.uint8)
    image[:, : 10 + 3 * number, 0] = 255
    image[:, 10 + 3 * number :, 2] = 255
    return image


def film(path: Path, frames: int = 6) -> Path:
    """A film without loss, with TIMES."""
    with av.open(str(path), "w", format="matroska") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.pix_fmt, stream.width, stream.height = "bgr0", 47, 33
        stream.codec_context.time_base = Fraction(1, 1000)
        for number in range(frames):
            frame = av.VideoFrame.from_ndarray(scene(number), format="rgb24")
            frame.pts, frame.time_base = round(TIMES[number] * 1000), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def job_for(engine: TorchEngine, out: Path, **options: object) -> Job:
    return Job(plan_for(engine, **options), LocalPlace(out), model="m")  # type: ignore[arg-type]


def frames_of(path: Path, kind: str) -> list[tuple[float, np.ndarray]]:
    with av.open(str(path)) as container:
        return [(float(f.pts * f.time_base), f.to_ndarray(format=kind)) for f in container.decode(video=0)]


def test_a_film_becomes_a_label_film_with_its_times(engine: TorchEngine, tmp_path: Path) -> None:
    job = job_for(engine, tmp_path / "out")
    (result,), skipped = predict_films(job, [str(film(tmp_path / "a.mkv"))], FilmOptions(), quiet=True)
    assert not skipped
    found = frames_of(Path(result.written["labels"]), "gray")
    assert [time for time, _ in found] == pytest.approx(TIMES)
    for number, (_, ids) in enumerate(found):
        assert np.array_equal(ids, 10 * labels_of(plan_for(engine), scene(number))), "ids, without loss"
    shown = frames_of(Path(result.written["overlay"]), "rgb24")
    assert [time for time, _ in shown] == pytest.approx(TIMES, abs=1e-3)
    assert shown[0][1].shape == (34, 48, 3), "even sides, which players need"
    rows = list(csv.DictReader(Path(result.written["frames"]).read_text().splitlines()))
    assert [float(row["seconds"]) for row in rows] == pytest.approx(TIMES)
    assert float(rows[0]["share red"]) == pytest.approx(10 / 47, abs=0.05)
    summary = json.loads(Path(result.written["summary"]).read_text())
    assert summary["frames"] == 6
    assert 0 < summary["flicker"]["before"]["in_place"] < 0.2


def test_two_films_of_one_name_are_refused(engine: TorchEngine, tmp_path: Path) -> None:
    """The second one's label film took the place of the first one's."""
    with pytest.raises(ConfigError, match="two films are called drive"):
        predict_films(job_for(engine, tmp_path / "out"), ["a/drive.mp4", "b/drive.mkv"], FilmOptions(), quiet=True)


def test_a_camera_and_a_film_are_told_apart_by_what_their_results_are_called(
    engine: TorchEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`predict MODEL 0 camera-0.mp4` wrote both to one file, and `0 film/0.mp4`, which share none, were refused."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="two films are called camera-0"):
        predict_films(job_for(engine, tmp_path / "out"), ["0", "camera-0.mp4"], FilmOptions(), quiet=True)
    results, skipped = predict_films(job_for(engine, tmp_path / "out"), ["0", "film/0.mp4"], FilmOptions(), quiet=True)
    assert (len(results), len(skipped)) == (0, 2), "neither is there, and both were tried"


def test_no_film_and_no_file_of_others_is_replaced(engine: TorchEngine, tmp_path: Path) -> None:
    """`predict RUN labels/drive.mkv --out .` put the label film in the place of the film itself."""
    (tmp_path / "labels").mkdir()
    own = film(tmp_path / "labels" / "a.mkv")
    before = own.read_bytes()
    with pytest.raises(ConfigError, match=r"a\.mkv would overwrite an input"):
        predict_films(job_for(engine, tmp_path), [str(own)], FilmOptions(), quiet=True)
    with pytest.raises(ConfigError, match=r"a\.mkv is there already, and is no result of predict"):
        predict_films(job_for(engine, tmp_path), [str(film(tmp_path / "a.mkv"))], FilmOptions(), quiet=True)
    assert own.read_bytes() == before


@pytest.mark.parametrize("streamed", [False, True])
def test_frames_replace_no_file_of_others(engine: TorchEngine, tmp_path: Path, streamed: bool) -> None:
    """`predict RUN frames/ --smooth mean --out data` wrote over the label pictures in data/labels."""
    for folder in ("in", "out/labels"):
        (tmp_path / folder).mkdir(parents=True)
        PILImage.fromarray(scene(0)).save(tmp_path / folder / "f.png")
    mine = (tmp_path / "out" / "labels" / "f.png").read_bytes()
    sources = [Source(tmp_path / "in" / "f.png", PurePosixPath("f"))]
    with pytest.raises(ConfigError, match=r"f\.png is there already, and is no result of predict"):
        predict_frames(job_for(engine, tmp_path / "out"), iter(sources) if streamed else sources, MEAN, quiet=True)
    assert (tmp_path / "out" / "labels" / "f.png").read_bytes() == mine


def test_a_film_and_frames_without_overlays(engine: TorchEngine, tmp_path: Path) -> None:
    job = replace(job_for(engine, tmp_path / "out"), overlays=False)
    name = str(film(tmp_path / "a.mkv"))
    (result,), _ = predict_films(job, [name], FilmOptions(), quiet=True)
    assert set(result.written) == {"labels", "frames", "summary"}
    assert len(frames_of(Path(result.written["labels"]), "gray")) == len(TIMES)
    (again,), _ = predict_films(job, [name], FilmOptions(), quiet=True)
    assert again.already
    PILImage.fromarray(scene(0)).save(tmp_path / "f.png")
    source = Source(tmp_path / "f.png", PurePosixPath("f"))
    (frame,), _ = predict_frames(job, [source], FilmOptions(smooth="mean"), quiet=True)
    assert set(frame.written) == {"labels"}
    assert not (tmp_path / "out" / "overlays").exists()


def test_every_third_frame_and_smoothing(engine: TorchEngine, tmp_path: Path) -> None:
    job = job_for(engine, tmp_path / "out")
    name = str(film(tmp_path / "a.mkv"))
    (result,), _ = predict_films(job, [name], FilmOptions(every=3, smooth="flow"), quiet=True)
    assert [time for time, _ in frames_of(Path(result.written["labels"]), "gray")] == pytest.approx((0.0, 0.2))
    flicker = json.loads(Path(result.written["summary"]).read_text())["flicker"]
    assert set(flicker) == {"before", "after"}
    assert set(flicker["after"]) == {"in_place", "along_motion"}


def test_what_is_done_is_passed_over(
    engine: TorchEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    name = str(film(tmp_path / "a.mkv"))
    predict_films(job_for(engine, tmp_path / "out"), [name], FilmOptions(), quiet=True)
    runs = len(engine.network.runs)
    (again,), _ = predict_films(job_for(engine, tmp_path / "out"), [name], FilmOptions(), quiet=True)
    assert again.already
    assert len(engine.network.runs) == runs
    monkeypatch.setattr(made_from, "__version__", "9.0.0")
    (upgraded,), _ = predict_films(job_for(engine, tmp_path / "out"), [name], FilmOptions(), quiet=True)
    assert not upgraded.already
    assert f"results of DenseLab {__version__} are predicted again, since this is DenseLab 9.0.0" in caplog.messages
    (other,), _ = predict_films(job_for(engine, tmp_path / "out"), [name], FilmOptions(every=2), quiet=True)
    assert not other.already


@pytest.mark.parametrize("name", ["a.mkv", "a.avi", "a.mp4", "a.mov"])
def test_a_film_cut_short_gives_its_frames_and_says_so(engine: TorchEngine, tmp_path: Path, name: str) -> None:
    """Decoders come to the end of half a file as to that of a whole one: it counted as done, with exit code 0."""
    path = tmp_path / name
    whole = coded(path).read_bytes()
    (made,), skipped = predict_films(job_for(engine, tmp_path / "out"), [str(path)], FilmOptions(), quiet=True)
    assert not skipped
    assert len(frames_of(made.written["labels"], "gray")) == 12
    path.write_bytes(whole[: len(whole) * 2 // 3])
    for _ in range(2):  # it does not count as done
        (made,), (said,) = predict_films(job_for(engine, tmp_path / "out"), [str(path)], FilmOptions(), quiet=True)
        assert not made.already
        assert said.reason.startswith(f"cut short, {path.stat().st_size:,} of {len(whole):,} bytes: the frames up to")
        assert 0 < len(frames_of(made.written["labels"], "gray")) < 12
    path.write_bytes(whole[:40])
    with pytest.raises(DataError, match=r"film that can be read|no pictures$|no frame can be"):  # noqa: SIM117
        with open_film(str(path)) as opened:
            assert not list(opened.read())


def coded(path: Path) -> Path:
    """Twelve frames of noise, which take about the same number of bytes each; what is about them comes first."""
    draw = np.random.default_rng(0)
    with av.open(str(path), "w", options={} if path.suffix in (".mkv", ".avi") else {"movflags": "faststart"}) as film:
        stream = film.add_stream("mjpeg", rate=25)
        stream.pix_fmt, stream.width, stream.height = "yuvj420p", 48, 32
        for _ in range(12):
            frame = av.VideoFrame.from_ndarray(draw.integers(0, 255, (32, 48, 3), np.uint8), format="rgb24")
            film.mux(stream.encode(frame.reformat(format="yuvj420p")))
        film.mux(stream.encode())
    return path


@pytest.mark.parametrize(
    ("matrix", "size"), [((0, 1, 0, -1, 0, 0, 0, 0, 1), (48, 32)), ((0,) * 9, (32, 48))], ids=["a quarter", "zeros"]
)
def test_a_film_is_turned_as_its_matrix_says(tmp_path: Path, matrix: tuple[int, ...], size: tuple[int, int]) -> None:
    """One of zeros turned every frame by a quarter: no angle at all came as a number far below 0."""
    whole = bytearray(coded(tmp_path / "a.mp4").read_bytes())
    place = whole.find(b"tkhd") + 44  # after version and flags, five numbers of 32 bits, and 16 bytes
    assert struct.unpack_from(">9i", whole, place) == (2**16, 0, 0, 0, 2**16, 0, 0, 0, 2**30)
    struct.pack_into(">9i", whole, place, *(n * 2**16 for n in matrix[:8]), matrix[8] * 2**30)
    (tmp_path / "a.mp4").write_bytes(whole)
    with open_film(str(tmp_path / "a.mp4")) as opened:
        assert {frame.image.shape[:2] for frame in opened.read()} == {size}


def test_what_is_no_film_is_told(engine: TorchEngine, tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"x" * 100)
    results, skipped = predict_films(
        job_for(engine, tmp_path / "out"),
        [str(tmp_path / "a.mp4"), str(tmp_path / "gone.mp4")],
        FilmOptions(),
        quiet=True,
    )
    assert not results
    assert ["not a film" in skipped[0].reason, "no such file" in skipped[1].reason] == [True, True]
    assert not (tmp_path / "out" / "labels").exists()
    with pytest.raises(DataError, match="no such camera"), open_film("97"):
        pass


def test_a_folder_of_frames(engine: TorchEngine, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for number in range(5):
        PILImage.fromarray(scene(number)).save(tmp_path / "in" / f"{number:03d}.png")
    (tmp_path / "in" / "002.png").write_bytes(b"x")
    sources, _ = find_sources([str(tmp_path / "in")])
    results, skipped = predict_frames(
        job_for(engine, tmp_path / "out"), sources, FilmOptions(smooth="mean"), quiet=True
    )
    assert [Path(s.path).name for s in skipped] == ["002.png"]
    assert [Path(r.source).name for r in results] == ["000.png", "001.png", "003.png", "004.png"]
    assert np.asarray(PILImage.open(tmp_path / "out" / "labels" / "004.png")).shape == (33, 47)
    told = json.loads((tmp_path / "out" / "flicker.json").read_text())
    assert told["flicker"]["after"]["in_place"] <= told["flicker"]["before"]["in_place"]


def test_a_frames_labels_that_somebody_changed_are_kept(
    engine: TorchEngine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in").mkdir()
    for number in range(2):
        PILImage.fromarray(scene(number)).save(tmp_path / "in" / f"{number}.png")
    sources, _ = find_sources([str(tmp_path / "in")])
    job, labels = job_for(engine, tmp_path / "out"), tmp_path / "out" / "labels" / "0.png"
    predict_frames(job, sources, MEAN, quiet=True)
    PILImage.fromarray(scene(3)).save(labels)
    mine = labels.read_bytes()
    results, _ = predict_frames(job, sources, MEAN, quiet=True)
    assert [result.already for result in results] == [True, False]
    assert "1 result changed since predicted, and kept" in capsys.readouterr().err
    assert labels.read_bytes() == mine
    predict_frames(replace(job, redo=True), sources, MEAN, quiet=True)
    assert labels.read_bytes() != mine


@pytest.mark.parametrize("at", ["reading", "labels"])
def test_a_frame_that_memory_runs_out_on_stops_no_other(
    engine: TorchEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    """Pictures of a folder were skipped one by one, but one large frame ended a folder of frames."""
    (tmp_path / "in").mkdir()
    for number in range(3):
        PILImage.fromarray(scene(number)).save(tmp_path / "in" / f"{number}.png")
    kind, name = (Source, "read") if at == "reading" else (FramePredictor, "labels")
    plain, calls = getattr(kind, name), []

    def cramped(self: object, *given: object) -> object:
        calls.append(given)
        if len(calls) == 2:
            raise MemoryError
        return plain(self, *given)

    monkeypatch.setattr(kind, name, cramped)
    sources, _ = find_sources([str(tmp_path / "in")])
    results, skipped = predict_frames(job_for(engine, tmp_path / "out"), sources, FilmOptions(), quiet=True)
    assert len(results) == 2
    assert ["memory" in entry.reason for entry in skipped] == [True]


def test_a_film_that_memory_runs_out_on_stops_no_other(
    engine: TorchEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, calls = FramePredictor.labels, []

    def cramped(self: FramePredictor, *given: object) -> object:
        calls.append(given)
        if len(calls) == 1:
            raise MemoryError
        return plain(self, *given)  # type: ignore[arg-type]

    monkeypatch.setattr(FramePredictor, "labels", cramped)
    films = [str(film(tmp_path / name)) for name in ("a.mkv", "b.mkv")]
    results, skipped = predict_films(job_for(engine, tmp_path / "out"), films, FilmOptions(), quiet=True)
    assert [Path(r.source).name for r in results] == ["b.mkv"]
    assert ["memory" in entry.reason for entry in skipped] == [True]


def test_ids_above_255_take_16_bits(tmp_path: Path) -> None:
    ids = np.arange(33 * 47, dtype=np.uint16).reshape(33, 47) + 300
    with FilmWriter(tmp_path / "a.mkv", "labels", Fraction(25), (33, 47), wide=True) as writer:
        writer.add(ids, 0.0)
    ((_, found),) = frames_of(tmp_path / "a.mkv", "gray16le")
    assert np.array_equal(found, ids)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a disk that is always full is Linux's")
def test_a_film_that_finds_the_disk_full_at_its_end_says_so() -> None:
    """What a film writes when it is closed failed as PyAV's own error, which is none of ours."""
    with (
        pytest.raises(ResourceError, match="cannot write /dev/full: .*choose another folder"),
        FilmWriter(Path("/dev/full"), "labels", Fraction(25), (33, 47)) as writer,
    ):
        writer.add(np.zeros((33, 47), np.uint8), 0.0)


def test_a_film_that_failed_raises_its_own_error(tmp_path: Path) -> None:
    """The end of the film was asked for all the same: what its codec said of that came in place of the reason."""
    writer = FilmWriter(tmp_path / "a.mp4", "overlay", Fraction(25), (100_000, 100_000))
    with pytest.raises(KeyboardInterrupt), writer:
        raise KeyboardInterrupt


@pytest.mark.parametrize("smooth", ["none", "mean", "flow"])
def test_frames_side_by_side_are_those_of_one_by_one(
    engine: TorchEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, smooth: Smooth
) -> None:
    name = str(film(tmp_path / "a.mkv"))
    (tmp_path / "in").mkdir()
    for number in range(5):
        PILImage.fromarray(scene(number)).save(tmp_path / "in" / f"{number}.png")
    found = []
    for threads in ("1", "3"):
        monkeypatch.setenv("OMP_NUM_THREADS", threads)
        job, options = job_for(engine, tmp_path / threads), FilmOptions(smooth=smooth)
        (result,), _ = predict_films(job, [name], options, quiet=True)
        predict_frames(job, find_sources([str(tmp_path / "in")])[0], options, quiet=True)
        files = sorted((tmp_path / threads).rglob("*.png")) + sorted((tmp_path / threads).rglob("*.csv"))
        texts = [*files, tmp_path / threads / "flicker.json", Path(result.written["summary"])]
        labels = [(time, ids.tobytes()) for time, ids in frames_of(Path(result.written["labels"]), "gray")]
        found.append((labels, [path.read_bytes() for path in texts]))
    assert found[0] == found[1]


class Meeting(TorchEngine):
    """Runs only where two threads run it at once."""

    barrier = Barrier(2)

    def logits(self, pictures: np.ndarray) -> object:
        self.barrier.wait(10)
        return super().logits(pictures)


def test_two_frames_run_at_the_same_time(engine: TorchEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    job = job_for(Meeting(engine.spec, engine.network, engine.device), tmp_path / "out")
    try:
        (result,), _ = predict_films(job, [str(film(tmp_path / "a.mkv"))], FilmOptions(), quiet=True)
    except BrokenBarrierError:
        pytest.fail("a frame waited for the end of another")
    assert len(frames_of(Path(result.written["labels"]), "gray")) == 6


class WithoutTorch:
    """An engine as of an exported model: the first four columns of the colours are its logits, as an array."""

    device = "cpu"

    def __init__(self, spec: ModelSpec) -> None:
        self.spec = spec

    def logits(self, pictures: np.ndarray) -> np.ndarray:
        return np.stack([pictures[..., channel] / np.float32(64) for channel in (0, 1, 2, 0)], axis=1)

    def fits(self, size: tuple[int, int]) -> bool:
        return True


@pytest.mark.parametrize("smooth", ["none", "mean"])
def test_windows_of_an_exported_model_need_no_torch(
    engine: TorchEngine, monkeypatch: pytest.MonkeyPatch, smooth: Smooth
) -> None:
    plan = plan_for(WithoutTorch(engine.spec), window=(16, 16))  # type: ignore[arg-type]
    monkeypatch.setitem(sys.modules, "torch", None)
    labels = FramePredictor(plan, smooth).labels(scene(3))
    assert np.array_equal(labels, np.where(np.arange(47) < 19, 0, 2)[None].repeat(33, axis=0))


def test_a_camera_runs_until_it_is_stopped(
    engine: TorchEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C ends its files properly."""
    film(tmp_path / "camera-3.mkv")
    monkeypatch.setitem(film_module.CAMERAS, "linux", (str(tmp_path / "camera-{}.mkv"), "matroska"))
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.chdir(tmp_path)
    run = FramePredictor.labels

    def stopped(self: FramePredictor, image: np.ndarray) -> np.ndarray:
        if (image[0, :, 0] > 0).sum() > 10 + 3 * 3:  # the fifth frame
            raise KeyboardInterrupt
        return run(self, image)

    monkeypatch.setattr(FramePredictor, "labels", stopped)
    (result,), skipped = predict_films(job_for(engine, tmp_path / "out"), ["3"], FilmOptions(), quiet=True)
    assert skipped == []
    assert [seconds for seconds, _ in frames_of(result.written["labels"], "gray")] == pytest.approx(TIMES[:4])
    assert json.loads(result.written["summary"].read_text())["frames"] == 4


def test_memory_depends_on_no_length(engine: TorchEngine, tmp_path: Path) -> None:
    """A frame of 33 x 47 has 4.7 kB, its probabilities 25 kB."""

    def peak(frames: int) -> int:
        with av.open(str(tmp_path / f"{frames}.mkv"), "w", format="matroska") as container:
            stream = container.add_stream("ffv1", rate=25)
            stream.pix_fmt, stream.width, stream.height = "bgr0", 47, 33
            for number in range(frames):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(scene(number % 6), format="rgb24")))
            container.mux(stream.encode())
        engine.network.runs.clear()
        tracemalloc.start()
        predict_films(job_for(engine, tmp_path / "out"), [str(tmp_path / f"{frames}.mkv")], MEAN, quiet=True)
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    peak(3)
    assert peak(63) - peak(13) < 100_000, "50 frames alone are 230 kB"


def test_options_that_films_have_no_place_for(engine: TorchEngine, tmp_path: Path) -> None:
    job = job_for(engine, tmp_path)
    object.__setattr__(job.plan, "samples", 4)
    with pytest.raises(ConfigError, match="uncertainty"):
        predict_films(job, ["a.mp4"], FilmOptions(), quiet=True)


def test_films_and_cameras_are_told_from_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "7").mkdir()
    assert split_films(["a.mp4", "0", "7", "b.png"]) == (["a.mp4", "0"], ["7", "b.png"])
