import json

import numpy as np
import pytest

from denselab.data import open_dataset
from denselab.errors import DataError


def test_benchmark_zero_is_unlabelled(save, photo, tmp_path):
    for split, word in (("training", "train"), ("validation", "val")):
        for number in (1, 2):
            save(f"images/{split}/ADE_{word}_0000000{number}.jpg", photo(1, 3))
            save(f"annotations/{split}/ADE_{word}_0000000{number}.png", [[0, 1, 150]])
    data = open_dataset(tmp_path)
    assert data.layout == "ADE20K"
    assert data.splits == ("train", "val")
    assert data.read_labels(data.items[0]).tolist() == [[255, 0, 149]]
    assert data.label_space.names[0] == "wall"
    assert data.label_space.names[149] == "flag"


def test_full_release_names_codes_by_the_attribute_files(save, photo, write, tmp_path):
    sky, car = (10, 5, 1), (21, 0, 2)  # R // 10 * 256 + G, and the number of the object
    for split, name in (("training", "a"), ("validation", "b")):
        save(f"{split}/street/{name}.jpg", photo(1, 3))
        save(f"{split}/street/{name}_seg.png", np.array([[sky, car, (0, 0, 0)]], np.uint8))
        write(
            f"{split}/street/{name}_atr.txt",
            '001 # 0 # 0 # sky # sky # ""\n002 # 0 # 0 # car # car # ""\n001 # 1 # 0 # rim # rim # ""\n',
        )
    data = open_dataset(tmp_path)
    assert [(e.id, e.name) for e in data.label_space.entries] == [(0, "unlabelled"), (261, "sky"), (512, "car")]
    assert data.read_labels(data.items[0]).tolist() == [[0, 1, 255]]
    assert data.splits == ("train", "val")


def test_the_release_of_2021_names_codes_by_its_json(save, photo, write, tmp_path):
    """Masks of single objects lie beside; the json of a picture lists objects and their parts."""
    sky, car = (10, 5, 1), (21, 0, 2)
    for split, word in (("training", "train"), ("validation", "val")):
        home = f"images/ADE/{split}/urban/street/ADE_{word}_00000001"
        save(f"{home}.jpg", photo(1, 3))
        save(f"{home}_seg.png", np.array([[sky, car, (0, 0, 0)]], np.uint8))
        save(f"{home}_parts_1.png", np.array([[car, sky, sky]], np.uint8))
        save(f"{home}/instance_000_ADE_{word}_00000001.png", [[255, 0, 0]])
        things = [("sky", 261, 0), ("car, auto", 512, 0), ("wheel", 900, 1)]
        rows = [{"id": n, "name": a, "name_ndx": i, "parts": {"part_level": p}} for n, (a, i, p) in enumerate(things)]
        write(f"{home}.json", json.dumps({"annotation": {"filename": "x.jpg", "imsize": [1, 3, 3], "object": rows}}))
    data = open_dataset(tmp_path)
    assert data.layout == "ADE20K full release"
    assert [(e.id, e.name) for e in data.label_space.entries] == [(0, "unlabelled"), (261, "sky"), (512, "car, auto")]
    assert data.read_labels(data.items[0]).tolist() == [[0, 1, 255]]
    assert data.splits == ("train", "val")
    write(f"{home}.json", "[" * 100_000)  # it ended as a fault of ours: RecursionError
    with pytest.raises(DataError, match="nested too deeply"):
        open_dataset(tmp_path)
