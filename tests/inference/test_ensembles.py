"""Ensembles: one model is itself, classes go by name, folders are whole, and no network runs twice."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tests.conftest import NearestColour

import denselab as dl
from denselab.cli.predict import predict
from denselab.crf import PRESETS as CRF_PRESETS
from denselab.engine import torch_engine
from denselab.engine.ensemble_folder import is_ensemble
from denselab.engine.folder import load_engine
from denselab.engine.open import open_folder
from denselab.engine.spec import Architecture
from denselab.engine.torch_engine import TorchEngine
from denselab.errors import CheckpointError, ConfigError
from denselab.inference import instance_wise
from denselab.inference.ensembles import Model, edeconvnet, ensemble_of
from denselab.inference.instance_wise import boxes_of
from denselab.inference.instances import PRESETS, InstanceWise
from denselab.inference.joint import joint_of
from denselab.inference.plan import joint_plan, plan_for
from denselab.inference.run import labels_of, member_scores, probs_of
from denselab.inference.score_cache import ScoreCache
from denselab.labels import LabelSpace


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stored ensemble keeps scores in the user's cache folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


def picture(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (20, 30, 3), dtype=np.uint8)


def sharper(engine: TorchEngine, factor: float) -> TorchEngine:
    """Another network: scores times a factor, with the first class favoured."""
    network = NearestColour().eval()
    plain = network.coarse_logits
    network.register_buffer("factor", torch.tensor(factor))  # so that its content differs
    bias = torch.tensor([0.5, 0, 0, 0]).view(1, 4, 1, 1)
    network.coarse_logits = lambda images: plain(images) * factor + bias  # type: ignore[method-assign]
    return replace(engine, network=network)


@pytest.mark.parametrize("join", ["mean", "product", "release"])
@pytest.mark.parametrize("options", [{}, {"tta": True}, {"window": (16, 16)}, {"instances": InstanceWise(boxes=3)}])
def test_an_ensemble_of_one_is_the_model(engine: TorchEngine, join: str, options: dict, tmp_path: Path) -> None:
    image = picture()
    one = joint_plan(ensemble_of([Model(engine, **options)], join, (), ScoreCache(tmp_path)))  # type: ignore[arg-type]
    plain = plan_for(engine, **options)
    assert np.array_equal(labels_of(one, image), labels_of(plain, image))
    assert probs_of(one, image) == pytest.approx(probs_of(plain, image), abs=1e-6)


def test_the_mean_of_two_is_the_mean_of_their_probabilities(engine: TorchEngine) -> None:
    other, image = sharper(engine, 5.0), picture()
    both = probs_of(joint_plan(ensemble_of([Model(engine), Model(other)])), image)
    expected = (probs_of(plan_for(engine), image) + probs_of(plan_for(other), image)) / 2
    assert both == pytest.approx(expected, abs=1e-6)
    weighted = probs_of(joint_plan(ensemble_of([Model(engine), Model(other)], "mean", (3, 1))), image)
    assert weighted == pytest.approx(
        0.75 * probs_of(plan_for(engine), image) + 0.25 * probs_of(plan_for(other), image), abs=1e-6
    )


def test_the_temperature_of_the_first_model_is_not_the_ensemble_s(engine: TorchEngine) -> None:
    warm = replace(engine, spec=replace(engine.spec, temperature=3.0))
    image = picture()
    one = probs_of(joint_plan(ensemble_of([Model(warm), Model(engine)])), image)
    assert one == pytest.approx(probs_of(plan_for(engine), image), abs=1e-6)


def test_classes_go_by_name(engine: TorchEngine) -> None:
    """A second model that lists the same classes in another order gives the same answer."""
    entries = engine.spec.label_space.classes
    turned = LabelSpace(tuple(replace(entries[i], id=place) for place, i in enumerate((2, 0, 3, 1))))
    network = NearestColour().eval()
    network.colours = network.colours[[2, 0, 3, 1]]
    other = replace(engine, spec=replace(engine.spec, label_space=turned), network=network)
    plan, image = joint_plan(ensemble_of([Model(engine), Model(other)])), picture()
    assert probs_of(plan, image) == pytest.approx(probs_of(plan_for(engine), image), abs=1e-6)
    strange = LabelSpace((replace(entries[0], name="sky"), *entries[1:]))
    with pytest.raises(ConfigError, match="model 2 of the ensemble knows the classes sky"):
        ensemble_of([Model(engine), Model(replace(engine, spec=replace(engine.spec, label_space=strange)))])


def test_classes_that_differ_in_capitals_alone_stay_apart(engine: TorchEngine) -> None:
    """Both were taken for the last of them, and the ensemble gave the scores of one class twice."""
    entries = engine.spec.label_space.classes
    names = LabelSpace((replace(entries[0], name="Rust"), replace(entries[1], name="rust"), *entries[2:]))
    own, image = replace(engine, spec=replace(engine.spec, label_space=names)), picture()
    both = joint_plan(ensemble_of([Model(own), Model(own)]))
    assert probs_of(both, image) == pytest.approx(probs_of(plan_for(engine), image), abs=1e-6)


def test_no_network_runs_twice(engine: TorchEngine, tmp_path: Path) -> None:
    other, image = sharper(engine, 2.0), picture()
    joint = joint_of([(engine, None), (other, None)], "mean", cache=ScoreCache(tmp_path))
    for _ in range(2):
        labels_of(joint.plan(), image)
        probs_of(joint.plan(), image)
        labels_of(joint.alone(1), image)
    assert len(engine.network.runs) == len(other.network.runs) == 1
    labels_of(joint.plan(), picture(1))
    labels_of(joint.plan(tta=True), image)
    assert len(engine.network.runs) == 2 + 6, "another picture, and other views, are other scores"
    changed = NearestColour().eval()
    changed.register_buffer("more", torch.ones(1))
    fresh = replace(engine, network=changed)
    labels_of(joint_of([(fresh, None), (other, None)], "mean", cache=ScoreCache(tmp_path)).plan(), image)
    assert len(changed.runs) == 1, "other weights are another model"


def test_a_model_folder_that_is_replaced_does_not_change_what_runs(models: tuple[Path, Path], tmp_path: Path) -> None:
    """A run that was trained on lent its new manifest to the scores of the weights that were still in memory."""
    folder = dl.load(models[0], "cpu").save_pretrained(tmp_path / "model")
    loaded = Model(load_engine(folder, "cpu"), folder)
    before = ensemble_of([loaded]).members[0].digest
    shutil.rmtree(folder)
    dl.load(models[1], "cpu").save_pretrained(folder)
    assert ensemble_of([loaded]).members[0].digest == before
    assert ensemble_of([Model(load_engine(folder, "cpu"), folder)]).members[0].digest != before


def test_scores_of_windows_for_want_of_memory_are_not_taken_for_those_of_the_whole(
    engine: TorchEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are probabilities: after one moment of little memory "release" refused the picture for good."""
    image, one = picture(), ensemble_of([Model(engine)], cache=ScoreCache(tmp_path))
    with monkeypatch.context() as small:
        small.setattr(torch_engine, "device_memory", lambda device: 1)
        assert not member_scores(one, image)[0].logits
    assert member_scores(one, image)[0].logits
    assert len(engine.network.runs) == 2
    full, seen = NearestColour().eval(), []
    plain = full.coarse_logits

    def once(images: torch.Tensor) -> torch.Tensor:
        seen.append(images)
        if len(seen) == 1:
            raise MemoryError("no room")
        return plain(images)

    full.coarse_logits = once  # type: ignore[method-assign]
    full.register_buffer("other", torch.ones(1))
    other = ensemble_of([Model(replace(engine, network=full))], cache=ScoreCache(tmp_path))
    assert [member_scores(other, image)[0].logits for _ in range(3)] == [False, True, True]
    assert len(seen) == 3


def test_boxes_that_a_function_gives_are_told_apart(engine: TorchEngine, tmp_path: Path) -> None:
    def first(image: np.ndarray) -> list[list[int]]:
        return [[0, 0, 10, 10]]

    def second(image: np.ndarray) -> list[list[int]]:
        return [[5, 5, 20, 30]]

    for give in (first, second, first):
        how = InstanceWise(give, whole=False)
        member_scores(ensemble_of([Model(engine, None, how)], cache=ScoreCache(tmp_path)), picture())
    assert len(engine.network.runs) == 2


def test_boxes_are_searched_for_only_where_the_network_runs(
    engine: TorchEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The key once held the boxes themselves: every picture was searched anew, which takes seconds, though all was kept."""
    searched: list[int] = []
    monkeypatch.setattr(instance_wise, "boxes_of", lambda *given: searched.append(1) or boxes_of(*given))
    for _ in range(2):
        member_scores(ensemble_of([Model(engine, None, InstanceWise())], cache=ScoreCache(tmp_path)), picture())
    assert len(searched) == 1


def test_runtimes_of_one_graph_do_not_share_scores(exported_folder: Path) -> None:
    engines = [open_folder(exported_folder, "cpu", engine=name) for name in ("onnx", "openvino")]  # type: ignore[arg-type]
    digests = {ensemble_of([Model(engine, exported_folder)]).members[0].digest for engine in engines}
    assert len(digests) == 2
    assert "" not in digests


def test_without_a_cache_nothing_is_written(
    engine: TorchEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    labels_of(joint_of([(engine, None), (engine, None)], "mean", cache=False).plan(), picture())
    assert list(tmp_path.iterdir()) == []


def test_a_stored_ensemble_keeps_scores_unless_told_not_to(
    models: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`predict` runs a picture once, and filled the user's cache folder with scores that nothing read again."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = dl.Predictor.ensemble(models, device="cpu", cache=False).save_pretrained(tmp_path / "both")
    with pytest.raises(ConfigError, match="an ensemble of ensembles; give the models themselves"):
        dl.Predictor.ensemble([folder, models[0]], device="cpu", cache=False)  # took the first model of the first
    dl.load(folder, "cpu", cache=False)(picture())
    Image.fromarray(picture()).save(tmp_path / "a.png")
    predict(str(folder), [str(tmp_path / "a.png")], str(tmp_path / "out"), device="cpu")
    assert (tmp_path / "out" / "labels" / "a.png").is_file()
    assert not (tmp_path / "cache").exists()
    dl.load(folder, "cpu")(picture())
    assert len(list((tmp_path / "cache" / "denselab" / "scores").glob("*.npy"))) == 2


def named(engine: TorchEngine, name: str) -> TorchEngine:
    return replace(engine, spec=replace(engine.spec, architecture=Architecture(name, 4)))


def test_edeconvnet_runs_deconvnet_on_boxes_and_the_other_whole(engine: TorchEngine) -> None:
    deconvnet, fcn = Model(named(engine, "deconvnet")), Model(named(engine, "fcn8s"))
    first, second = edeconvnet([deconvnet, fcn])
    assert (first.instances, second.instances) == (PRESETS["release"], None)
    assert edeconvnet([fcn, deconvnet])[1].instances == PRESETS["release"]
    joint = joint_of([(deconvnet.engine, None), (fcn.engine, None)], "edeconvnet+crf", cache=False)
    assert (joint.join, joint.crf) == ("release", CRF_PRESETS["deconvnet"])
    for wrong in ([fcn, fcn], [deconvnet], [deconvnet, deconvnet]):
        with pytest.raises(ConfigError, match="a deconvnet, run on boxes, and another"):
            edeconvnet(wrong)


def test_a_saved_ensemble_predicts_the_same(models: tuple[Path, Path], tmp_path: Path) -> None:
    pair = dl.Predictor.ensemble(models, "mean", (0.25, 0.75), device="cpu", cache=False)
    image, folder = picture(), pair.save_pretrained(tmp_path / "both")
    assert is_ensemble(folder)
    again = dl.load(folder, "cpu")
    assert np.array_equal(again(image).labels, pair(image).labels)
    assert again(image).probs == pytest.approx(pair(image).probs)
    assert repr(again) == repr(pair)
    copy = again.save_pretrained(tmp_path / "copy")
    assert np.array_equal(dl.load(copy, "cpu")(image).labels, pair(image).labels)
    member = next((folder / "members").iterdir())
    assert load_engine(member, "cpu").spec.architecture.name == "deeplabv3plus", "a member is a model of its own"
    with pytest.raises(CheckpointError, match="is an ensemble; give one of its models"):
        load_engine(folder, "cpu")
    with pytest.raises(ConfigError, match="an ensemble has no `uncertainty`"):
        again(image, uncertainty=True)


def test_saving_over_an_ensemble_replaces_it_and_over_a_model_is_refused(
    models: tuple[Path, Path], tmp_path: Path
) -> None:
    first = dl.Predictor.ensemble(models, device="cpu", cache=False)
    first.save_pretrained(tmp_path / "both")
    before = {path.name for path in (tmp_path / "both" / "members").iterdir()}
    dl.Predictor.ensemble(models[::-1], device="cpu", cache=False).save_pretrained(tmp_path / "both")
    after = {path.name for path in (tmp_path / "both" / "members").iterdir()}
    assert len(before) == len(after) == 2
    assert not before & after
    model = dl.load(models[0], "cpu").save_pretrained(tmp_path / "model")
    (tmp_path / "run" / "model").mkdir(parents=True)
    with pytest.raises(ConfigError, match=r"holds a run \(model\)"):
        first.save_pretrained(tmp_path / "run")
    with pytest.raises(ConfigError, match="already holds a model"):
        first.save_pretrained(model)


def test_how_each_model_runs_is_stored(models: tuple[Path, Path], tmp_path: Path) -> None:
    how = InstanceWise(boxes=3, aggregate="max", scores="logits", floor=0.0)
    engines = [(load_engine(folder, "cpu"), folder) for folder in models]
    joint = joint_of(engines, "release", instances=how, cache=False)
    joint.save(tmp_path / "both")
    loaded = dl.load(tmp_path / "both", "cpu")
    assert loaded.joint is not None
    assert [model.instances for model in loaded.joint.models] == [how, how]
    assert np.array_equal(labels_of(loaded.plan(), picture()), labels_of(joint.plan(), picture()))


@pytest.mark.parametrize("wrong", ["../../elsewhere", "members/../x/y", "/etc", "members"])
def test_a_member_outside_the_folder_is_refused(models: tuple[Path, Path], tmp_path: Path, wrong: str) -> None:
    import json

    from denselab.folders import write_folder

    folder = dl.Predictor.ensemble(models, device="cpu", cache=False).save_pretrained(tmp_path / "both")
    config = json.loads((folder / "config.json").read_bytes())
    config["ensemble"]["members"][0]["folder"] = wrong
    write_folder(folder, {"config.json": json.dumps(config).encode(), "README.md": b""})
    with pytest.raises(CheckpointError, match="is not the config of an ensemble"):
        dl.load(folder, "cpu")


@pytest.mark.parametrize(
    "how",
    [{"window": 5}, {"window": [8]}, {"window": ["a", "b"]}, {"instances": {"more": 1}}, {"instances": 3}, 7, "x"],
)
def test_a_record_of_how_a_member_runs_that_is_none_is_refused(
    models: tuple[Path, Path], tmp_path: Path, how: object
) -> None:
    """It ended in "a fault of ours"."""
    import json

    from denselab.folders import write_folder

    folder = dl.Predictor.ensemble(models, device="cpu", cache=False).save_pretrained(tmp_path / "both")
    config = json.loads((folder / "config.json").read_bytes())
    config["ensemble"]["members"][0]["how"] = how
    write_folder(folder, {"config.json": json.dumps(config).encode(), "README.md": b""})
    with pytest.raises(CheckpointError, match=r"cannot be read|is not the config of an ensemble"):
        dl.load(folder, "cpu")
    (folder / "manifest.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"has no config.json in its manifest"):
        dl.load(folder, "cpu")


@pytest.mark.parametrize(
    ("join", "weights", "message"),
    [
        ("sum", (), "`ensemble` 'sum'"),
        ("mean", (1,), "weights .* of 2 models"),
        ("mean", (-1, 2), "weights .* of 2 models"),
        ("mean", (0, 0), "weights .* of 2 models"),
        ("release", (1, 1), "'release' takes no weights"),
    ],
)
def test_what_makes_no_sense_is_refused(engine: TorchEngine, join: str, weights: tuple, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ensemble_of([Model(engine), Model(engine)], join, weights)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="an ensemble of no models"):
        ensemble_of([])
