"""Batches: order, exact resume, shares of processes, threads that end, and validation at working size."""

import signal
import subprocess
import sys
import textwrap
import threading
import time
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from denselab.data import open_dataset
from denselab.data.feed.cache import SampleCache
from denselab.data.feed.loading import (
    balanced_weights,
    epoch_order,
    in_order,
    steps_per_epoch,
    train_loader,
    val_batches,
)
from denselab.data.feed.transforms import Augmentation
from denselab.data.resizing.resize import resize_image
from denselab.errors import ConfigError, DataError
from denselab.types import Sample

AUGMENTATION = Augmentation((12, 16))


@dataclass(frozen=True)
class FakeItem:
    name: str
    size: tuple[int, int] = (20, 30)
    dtype: type = np.uint8


class FakeDataset:
    """Pictures of noise, the same for the same name; counts its reads."""

    def __init__(self, broken=()):
        self.reads = 0
        self.broken = broken

    def read(self, item):
        self.reads += 1
        if item.name in self.broken:
            raise DataError(f"{item.name}.png is truncated; replace the file")
        rng = np.random.default_rng([ord(c) for c in item.name])
        image = rng.integers(0, 256, (*item.size, 3), dtype=np.uint8)
        return Sample(item.name, image, rng.integers(0, 5, item.size).astype(item.dtype))


def items_of(count, **kind):
    return [FakeItem(f"picture{number}", **kind) for number in range(count)]


def load(items, *, dataset=None, augmentation=AUGMENTATION, batch=4, seed=0, epoch=0, **more):
    return list(
        train_loader(dataset or FakeDataset(), items, augmentation, batch=batch, seed=seed, epoch=epoch, **more)
    )


def as_bytes(batches):
    """All that a batch says."""
    return [(b.images.contiguous().numpy().tobytes(), b.labels.numpy().tobytes(), b.names, b.indices) for b in batches]


def loader_threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("denselab-data")]


def test_a_batch_is_what_it_says():
    batches = load(items_of(10))
    assert len(batches) == 2
    for batch in batches:
        assert (batch.images.shape, batch.images.dtype) == ((4, 3, 12, 16), torch.uint8)
        assert batch.images.is_contiguous(memory_format=torch.channels_last)
        assert (batch.labels.shape, batch.labels.dtype) == ((4, 12, 16), torch.uint8)
        assert batch.names == tuple(f"picture{index}" for index in batch.indices)
        assert batch.weights is None


def test_without_changes_the_pictures_themselves_come():
    still = Augmentation((20, 30), scale=(1.0, 1.0), flip=False, photometric=0.0, max_class_share=1.0)
    items, dataset = items_of(6), FakeDataset()
    for batch in load(items, augmentation=still, batch=3):
        for image, labels, index in zip(batch.images, batch.labels, batch.indices, strict=True):
            sample = dataset.read(items[index])
            assert (image.permute(1, 2, 0).numpy() == sample.image).all()
            assert (labels.numpy() == sample.labels).all()


def test_each_epoch_and_seed_has_its_own_order_of_all_pictures():
    orders = [epoch_order(50, seed, epoch).tolist() for seed in range(3) for epoch in range(3)]
    assert all(sorted(order) == list(range(50)) for order in orders)
    assert len({tuple(order) for order in orders}) == 9
    assert epoch_order(50, 1, 2).tolist() == epoch_order(50, 1, 2).tolist()


def test_nothing_depends_on_workers_or_on_the_cache():
    reference = as_bytes(load(items_of(11)))
    cache = SampleCache(1 << 20)
    assert as_bytes(load(items_of(11), workers=2)) == reference
    assert as_bytes(load(items_of(11), workers=3, cache=cache)) == reference
    assert as_bytes(load(items_of(11), cache=cache)) == reference  # from memory now
    assert as_bytes(load(items_of(11), cache=SampleCache(3000))) == reference  # room for one


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("consumed", [0, 1, 3, 5])
def test_resume_within_an_epoch_is_exact(workers, consumed):
    whole = as_bytes(load(items_of(21), epoch=4, workers=2 - workers))
    assert as_bytes(load(items_of(21), epoch=4, workers=workers, start=consumed * 4)) == whole[consumed:]
    assert len(whole) == 5


def test_the_cache_spares_reading():
    dataset, cache = FakeDataset(), SampleCache(1 << 20)
    for epoch in range(3):
        load(items_of(8), dataset=dataset, epoch=epoch, cache=cache)
    assert dataset.reads == 8


@settings(max_examples=30)
@given(st.integers(1, 30), st.integers(1, 4), st.integers(1, 3), st.integers(0, 3))
def test_the_ranks_together_see_one_process_with_the_larger_batch(count, batch, world_size, consumed):
    items, tiny = items_of(count, size=(4, 4)), Augmentation((4, 4))
    start = consumed * batch * world_size
    single = load(items, augmentation=tiny, batch=batch * world_size, start=start)
    shares = [
        load(items, augmentation=tiny, batch=batch, start=start, rank=rank, world_size=world_size)
        for rank in range(world_size)
    ]
    assert len(single) == max(steps_per_epoch(count, batch, world_size) - consumed, 0)
    for step, whole in enumerate(single):
        parts = [share[step] for share in shares]
        assert sum((part.names for part in parts), ()) == whole.names
        assert torch.equal(torch.cat([part.images for part in parts]), whole.images)
    assert {len(share) for share in shares} == {len(single)}
    names = [name for whole in single for name in whole.names]
    if consumed == 0:
        assert len(set(names)) == min(count, len(names))  # no picture twice, unless all are needed


def test_fewer_pictures_than_a_batch_are_repeated_and_augmented_anew():
    (batch,) = load(items_of(3), batch=8)
    assert sorted(np.bincount(batch.indices)) == [2, 3, 3]
    assert len({image.numpy().tobytes() for image in batch.images.contiguous()}) == 8
    assert load(items_of(3), batch=8, start=8) == []


def test_seed_and_epoch_decide_the_augmentation():
    """With a single picture the order cannot differ: only its view does."""
    views = [as_bytes(load(items_of(1), batch=1, seed=seed, epoch=epoch))[0][0] for seed in (0, 1) for epoch in (0, 1)]
    assert len(set(views)) == 4


def test_weights_decide_how_often_a_picture_comes():
    weights = [4.0, 1.0, 1.0, 2.0, 0.0]
    counts = np.bincount(epoch_order(5, 0, 0, weights), minlength=5)
    assert counts.sum() == 5
    for epoch in range(20):
        many = np.bincount(epoch_order(800, 3, epoch, weights * 160), minlength=800).reshape(160, 5)
        assert np.abs(many.sum(axis=0) - np.array([400, 100, 100, 200, 0])).max() <= 40
        assert many[:, 0].min() >= 2  # expected 2.5: the integer below or above
        assert many[:, 4].max() == 0
    assert as_bytes(load(items_of(9), item_weights=range(9), workers=2)) == as_bytes(
        load(items_of(9), item_weights=range(9))
    )


def test_a_picture_that_comes_often_is_spread_over_the_epoch():
    """Four pictures of fourteen, alone: no four in a row hold one of them twice, unless an odd one out is left."""
    for epoch in range(5):
        order = epoch_order(12, 0, epoch, [1.0, 0, 0, 1.0, 0, 1.0, 0, 0, 0, 1.0, 0, 0])
        assert all(set(order[start : start + 4]) == {0, 3, 5, 9} for start in (0, 4, 8))
    order = epoch_order(400, 0, 0, [3.0, *[1.0] * 399])
    assert np.diff(np.flatnonzero(order == 0)).tolist() == pytest.approx([133, 133], abs=40)


def test_one_heavy_picture_does_not_hide_a_mistake_in_the_sums():
    assert set(epoch_order(6, 0, 0, [0, 0, 1, 0, 0, 0])) == {2}


@pytest.mark.parametrize("weights", [[1.0, 2.0], [1.0, -1.0, 1.0], [0.0, 0.0, 0.0], [np.nan, 1.0, 1.0]])
def test_useless_weights_are_refused(weights):
    with pytest.raises(ConfigError, match="for 3 pictures; give one weight >= 0 for each"):
        epoch_order(3, 0, 0, weights)


def test_balanced_weights_by_hand():
    pixels = np.array([[64, 0, 0], [31, 4, 0], [0, 0, 1], [0, 0, 0]])  # shares 0.95, 0.04, 0.01
    expected = [1 / np.sqrt(0.95), 1 / np.sqrt(0.04), 1 / np.sqrt(0.01), 1 / np.sqrt(0.95)]
    assert balanced_weights(pixels) == pytest.approx(np.array(expected))
    assert balanced_weights(np.zeros((2, 3), np.int64)).tolist() == [1.0, 1.0]


def test_pixel_weights_come_with_the_batch():
    def double(labels):
        return labels.astype(np.float32) * 2

    (batch,) = load(items_of(4), pixel_weights=double)
    assert batch.weights.dtype == torch.float32
    assert torch.equal(batch.weights, batch.labels.float() * 2)


def test_many_classes_give_int64_labels():
    (batch,) = load(
        items_of(4, dtype=np.uint16), augmentation=Augmentation((12, 16), scale=(0.5, 0.5), ignore_index=65535)
    )
    assert batch.labels.dtype == torch.int64
    assert batch.labels.max() == 65535


@pytest.mark.parametrize("workers", [0, 2])
def test_an_unreadable_picture_is_named_and_the_threads_end(workers):
    with pytest.raises(DataError, match=r"picture3\.png is truncated"):
        load(items_of(12), dataset=FakeDataset(broken={"picture3"}), workers=workers)
    assert not loader_threads()


def test_no_pictures_and_senseless_arguments_are_refused_at_once():
    with pytest.raises(DataError, match="no pictures to train on"):
        train_loader(FakeDataset(), [], AUGMENTATION, batch=4, seed=0, epoch=0)
    for wrong in ({"batch": 0}, {"workers": -1}, {"start": -4}, {"rank": 2, "world_size": 2}):
        with pytest.raises(ConfigError, match="loader: batch"):
            train_loader(FakeDataset(), items_of(3), AUGMENTATION, **{"batch": 4, "seed": 0, "epoch": 0, **wrong})


def test_work_is_done_ahead_but_not_further_than_asked():
    done = []
    results = in_order(done.append, range(100), workers=2, ahead=3)
    next(results)
    time.sleep(0.1)
    assert 1 <= len(done) <= 4
    results.close()
    assert not loader_threads()


def test_results_keep_their_order_when_the_first_is_slow():
    def slow_first(number):
        time.sleep(0.05 if number == 0 else 0)
        return number

    assert list(in_order(slow_first, range(20), workers=4, ahead=8)) == list(range(20))


def test_an_iterator_left_alone_leaves_no_thread():
    iterator = train_loader(FakeDataset(), items_of(40), AUGMENTATION, batch=4, seed=0, epoch=0, workers=2)
    next(iterator)
    assert loader_threads()
    del iterator
    assert not loader_threads()


def test_ctrl_c_ends_a_loader_with_workers():
    """The process is waiting for a slow read when the signal comes."""
    script = textwrap.dedent("""
        import signal
        import time
        from denselab.data.feed.loading import in_order
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs begin with it ignored
        def slow(number):
            time.sleep(0.3)
            return number
        for number in in_order(slow, range(1000), workers=2):
            print(number, flush=True)
    """)
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"0\n"
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=20)
    assert process.returncode in (130, -signal.SIGINT)
    assert b"KeyboardInterrupt" in error


def test_validation_comes_in_order_at_working_size_with_labels_as_they_are():
    sizes = [(20, 30), (20, 30), (40, 60), (20, 20), (5, 9), (5, 9), (5, 9)]
    items = [FakeItem(f"v{number}", size) for number, size in enumerate(sizes)]
    dataset = FakeDataset()
    for workers in (0, 2):
        batches = list(val_batches(dataset, items, (10, 15), batch=2, workers=workers))
        assert [b.indices for b in batches] == [(0, 1), (2,), (3,), (4, 5), (6,)]
        assert sum((b.indices for b in batches), ()) == tuple(range(7))
        assert [tuple(b.images.shape) for b in batches] == [
            (2, 3, 10, 15),
            (1, 3, 10, 15),
            (1, 3, 10, 10),
            (2, 3, 8, 15),
            (1, 3, 8, 15),
        ]
        for batch in batches:
            for image, labels, name, index in zip(batch.images, batch.labels, batch.names, batch.indices, strict=True):
                sample = dataset.read(items[index])
                assert name == items[index].name
                assert (labels == sample.labels).all()
                assert (image.permute(1, 2, 0).numpy() == resize_image(sample.image, tuple(image.shape[1:]))).all()


@given(st.integers(0, 12), st.integers(1, 5), st.integers(1, 4))
@settings(max_examples=20)
def test_the_ranks_validate_each_picture_once_and_in_order(count, batch, world_size):
    shares = [
        val_batches(FakeDataset(), items_of(count, size=(4, 4)), (4, 4), batch=batch, rank=rank, world_size=world_size)
        for rank in range(world_size)
    ]
    alone = [b.indices for b in val_batches(FakeDataset(), items_of(count, size=(4, 4)), (4, 4), batch=batch)]
    assert sorted(b.indices for share in shares for b in share) == alone, "the same batches as one process has"
    assert [index for indices in alone for index in indices] == list(range(count))


def test_training_and_validation_can_share_a_cache():
    dataset, cache, items = FakeDataset(), SampleCache(1 << 20), items_of(4)
    train = as_bytes(load(items, dataset=dataset, cache=cache))
    first, second = ([b.images for b in val_batches(dataset, items, (12, 16), batch=4, cache=cache)] for _ in range(2))
    assert dataset.reads == 8
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert as_bytes(load(items, dataset=dataset, cache=cache)) == train


def test_real_pictures_come_through_unchanged_where_nothing_is_asked(shared_data):
    """CamVid: 360x480, so validation and a crop of that size at scale 1 are the files' own pixels."""
    dataset = open_dataset(shared_data / "camvid")
    items = dataset.of_split("val")[:4]
    still = Augmentation((360, 480), scale=(1.0, 1.0), flip=False, photometric=0.0, max_class_share=1.0)
    (trained,) = load(items, dataset=dataset, augmentation=still, workers=1)
    (validated,) = val_batches(dataset, items, (360, 480), batch=4, workers=1)
    for position, index in enumerate(trained.indices):
        assert trained.names[position] == items[index].name
        assert torch.equal(trained.images[position], validated.images[index])
        assert (trained.labels[position].numpy() == dataset.read_labels(items[index])).all()
        assert (validated.labels[index] == dataset.read_labels(items[index])).all()
