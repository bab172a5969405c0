"""Files and folders are whole or not there: interrupted, damaged, full-disk and simultaneous writes."""

import errno
import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from denselab import files
from denselab.errors import CheckpointError, ResourceError
from denselab.files import HOST, describe_os_error, replaced, unpack_json, write_bytes, write_json, write_text
from denselab.folders import MANIFEST, link_folder, read_folder, read_newest_folder, renew_file, write_folder

DEAD = 2**22 + 1  # above the largest process id of Linux


def test_threads_that_write_into_one_folder_do_not_mix_their_files(tmp_path: Path) -> None:
    """The temporary name was one per process: of 200 label maps saved by 8 threads, 13 held another picture's and 19 were missing."""
    contents = {f"{i:03d}": bytes([i]) * 20_000 for i in range(200)}
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: write_bytes(tmp_path / f"{name}.png", contents[name]), contents))
    assert {path.stem: path.read_bytes() for path in tmp_path.iterdir()} == contents


def test_threads_that_write_one_folder_each_do_not_mix_them(tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda i: write_folder(tmp_path / str(i), {"a": bytes([i])}), range(40)))
    assert {path.name: read_folder(path)["a"] for path in tmp_path.iterdir()} == {str(i): bytes([i]) for i in range(40)}


def test_what_dead_processes_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    """A killed run left `last.writing-1234/` with half a network in it for ever."""
    ours = [f".{DEAD}-{HOST}-0123abcd.part", f".{DEAD}.part", f"model.writing-{DEAD}", f"last.writing-{DEAD}"]
    others = [
        f".{os.getpid()}-{HOST}-0123abcd.part",  # alive
        f".{DEAD}-{'0' * 4 if HOST != '0' * 4 else '1' * 4}-0123abcd.part",  # another machine's
        f".{DEAD}-thesis.part",
        f"{DEAD}.part",
        "model.writing-mine",
    ]
    for name in (*ours[:2], *others):
        (tmp_path / name).write_text("half")
    for name in ours[2:]:
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").write_text("half")
    write_bytes(tmp_path / "new", b"x")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*others, "new"])


def test_a_name_as_long_as_names_can_be(tmp_path: Path) -> None:
    path = tmp_path / "below" / ("n" * 251 + ".png")
    write_bytes(path, b"x")
    assert path.read_bytes() == b"x"


def test_ctrl_c_in_the_middle_of_a_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(source: Path, target: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", stopped)
    with pytest.raises(KeyboardInterrupt):
        write_bytes(tmp_path / "file", b"new")
    with pytest.raises(KeyboardInterrupt):
        write_folder(tmp_path / "folder", {"a": b"new"})
    assert not list(tmp_path.iterdir())


def test_what_takes_a_files_place_is_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Label maps of huge pictures were renamed into place unsynced: after a power cut they could be empty."""
    synced: list[int] = []
    plain = os.fsync
    monkeypatch.setattr(os, "fsync", lambda file: (synced.append(os.fstat(file).st_ino), plain(file)))
    with replaced(tmp_path / "a") as fresh:
        fresh.write_bytes(b"large")
    write_bytes(tmp_path / "b", b"small")
    assert synced == [(tmp_path / name).stat().st_ino for name in ("a", "b")]


def test_text_and_json_as_they_are_stored(tmp_path: Path) -> None:
    write_text(tmp_path / "a.csv", "é\r\n")
    assert (tmp_path / "a.csv").read_bytes() == b"\xc3\xa9\r\n"
    write_json(tmp_path / "a.json", {"name": "é"})
    assert (tmp_path / "a.json").read_bytes() == '{\n "name": "é"\n}\n'.encode()
    assert unpack_json((tmp_path / "a.json").read_bytes(), "a.json") == {"name": "é"}


def test_folder_round_trip_replaces_what_was_there(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    write_folder(folder, {"a.bin": b"one", "old.bin": b"x"})
    write_folder(folder, {"a.bin": b"two"})
    assert read_folder(folder) == {"a.bin": b"two"}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model"], "nothing is left beside it"


def test_large_files_of_a_folder_are_made_one_after_another(tmp_path: Path) -> None:
    """The four parts of a large network's state were all held in memory before the first was written."""
    made: list[int] = []

    def content(name: str) -> Iterator[bytes | memoryview]:
        made.append(len(list(tmp_path.rglob("*.bin"))))
        yield from (name.encode(), b"", memoryview(b"12"))

    folder = tmp_path / "last"
    write_folder(folder, {f"{name}.bin": partial(content, name) for name in "abc"})
    assert made == [1, 2, 3], "the file that it is written to is open"
    assert read_folder(folder) == {"a.bin": b"a12", "b.bin": b"b12", "c.bin": b"c12"}


@pytest.mark.parametrize("links", [True, False])
def test_a_linked_folder_is_whole_and_outlives_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    """The first is written anew, as model/ is when it scores better: the second keeps what it was linked with."""

    def no_links(*arguments: object) -> None:
        raise OSError(errno.EPERM, "not on this disk")

    if not links:
        monkeypatch.setattr(os, "link", no_links)
    first, second = tmp_path / "model", tmp_path / "model-best-loss"
    write_folder(first, {"a": b"one"})
    write_folder(second, {"a": b"before"})
    link_folder(first, second)
    assert ((first / "a").stat().st_ino == (second / "a").stat().st_ino) is links
    write_folder(first, {"a": b"two"})
    assert (read_folder(first), read_folder(second)) == ({"a": b"two"}, {"a": b"one"})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "model-best-loss"]


@pytest.mark.parametrize("links", [True, False])
def test_one_file_of_a_folder_is_renewed(tmp_path: Path, links: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others, which may be of gigabytes, are not written anew; where the disk has no links they are copied."""
    if not links:
        monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(OSError("no hard links")))
    folder = tmp_path / "last"
    for content in (b"one", b"two"):
        write_folder(folder, {"numbers": content, "weights": content}, keep_previous=True)
    (folder / "notes.txt").write_text("a user's")
    place = (folder / "weights").stat().st_ino
    renew_file(folder, "numbers", b"three and more")
    assert read_folder(folder) == {"numbers": b"three and more", "weights": b"two"}
    assert ((folder / "weights").stat().st_ino == place) is links
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_dir()) == ["last"]
    assert (folder / "notes.txt").read_text() == "a user's"


def test_previous_is_kept_on_request(tmp_path: Path) -> None:
    folder = tmp_path / "last"
    for content in (b"one", b"two", b"three"):
        write_folder(folder, {"a": content}, keep_previous=True)
    assert read_folder(folder) == {"a": b"three"}
    assert read_folder(tmp_path / "last.previous") == {"a": b"two"}


@pytest.mark.parametrize("damage", ["flipped", "truncated", "missing", "no manifest", "manifest garbage"])
def test_damage_is_recognised_and_the_older_folder_taken(tmp_path: Path, damage: str) -> None:
    folder = tmp_path / "last"
    write_folder(folder, {"a": b"older"}, keep_previous=True)
    write_folder(folder, {"a": b"newer"}, keep_previous=True)
    target = folder / "a"
    if damage == "flipped":
        target.write_bytes(b"nEwer")
    elif damage == "truncated":
        target.write_bytes(b"new")
    elif damage == "missing":
        target.unlink()
    elif damage == "no manifest":
        (folder / MANIFEST).unlink()
    else:
        (folder / MANIFEST).write_text("[1, 2")
    with pytest.raises(CheckpointError, match="last"):
        read_folder(folder)
    files, why = read_newest_folder(folder)
    assert files == {"a": b"older"}
    assert why is not None


def test_what_others_put_into_the_folder_stays(tmp_path: Path) -> None:
    """A user's notes in model/ were removed with the older model by the next validation."""
    folder = tmp_path / "model"
    (folder / "mine").mkdir(parents=True)
    (folder / "mine" / "a.txt").write_text("1")
    for keep in (False, True, True):
        write_folder(folder, {"a": b"new"}, keep_previous=keep)
        (folder / "notes.txt").write_text("2")
    write_folder(folder, {"b": b"newer"})
    assert sorted(path.name for path in folder.iterdir()) == ["b", MANIFEST, "mine", "notes.txt"]
    assert (folder / "mine" / "a.txt").read_text() == "1"


def test_killed_between_the_two_renames(tmp_path: Path) -> None:
    folder = tmp_path / "last"
    write_folder(folder, {"a": b"older"}, keep_previous=True)
    os.replace(folder, tmp_path / "last.previous")
    assert read_newest_folder(folder)[0] == {"a": b"older"}


def test_both_damaged_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="not a complete folder"):
        read_newest_folder(tmp_path / "last")


def test_full_disk_leaves_the_old_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "model"
    write_folder(folder, {"a": b"good"})

    def full(path: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files, "_sync", full)
    with pytest.raises(ResourceError, match="disk is full"):
        write_folder(folder, {"a": b"new"})
    with pytest.raises(ResourceError, match="disk is full"):
        write_bytes(tmp_path / "file", b"new", "say so")
    assert read_folder(folder) == {"a": b"good"}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model"]


def test_a_full_disk_for_real() -> None:
    """/dev/full accepts no byte: the error is the operating system's own."""
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full on this system")
    with pytest.raises(OSError, match="No space left") as caught:
        files.write_synced(Path("/dev/full"), b"x" * 10)
    assert "disk is full" in describe_os_error(caught.value, Path("x"))


def test_unwritable_place_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ResourceError, match="choose another folder with `out`"):
        write_folder(tmp_path / "file" / "model", {"a": b"x"})


@pytest.mark.parametrize("keep", [True, False])
def test_a_file_in_the_place_of_a_folder_stays(keep: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`convert --out model.pth` moved the file model.pth to model.pth.previous; --out . was a fault of ours."""
    (tmp_path / "model.pth").write_text("mine")
    with pytest.raises(ResourceError, match=r"model\.pth is a file; choose another folder with `out`"):
        write_folder(tmp_path / "model.pth", {"a": b""}, keep_previous=keep)
    assert [path.name for path in tmp_path.iterdir()] == ["model.pth"]
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ResourceError, match=r"^\. is no folder that can be replaced; choose another"):
        write_folder(Path("."), {"a": b""}, keep_previous=keep)


def test_json_that_is_none_is_refused_by_name() -> None:
    with pytest.raises(CheckpointError, match=r"c\.json is not JSON"):
        unpack_json(b"{", "c.json")
    with pytest.raises(CheckpointError, match="list"):
        unpack_json(json.dumps([1]).encode(), "c.json")


MANIFEST_ENTRY = {"bytes": 1, "sha256": "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"}  # of b"a"


@pytest.mark.parametrize("name", ["../secret.txt", "/etc/hostname", "..", ".", "a/b", "a\\b", "", "a\0b", "/dev/zero"])
def test_a_manifest_opens_nothing_outside_its_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / "secret.txt").write_text("a")
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / MANIFEST).write_text(json.dumps({name: MANIFEST_ENTRY}))
    with pytest.raises(CheckpointError, match="no file in that folder"):
        read_folder(tmp_path / "m")


def test_a_link_out_of_the_folder_a_device_and_a_pipe_are_refused(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("a")
    write_folder(tmp_path / "m", {"w": b"a"})
    for target in ("../secret", "/dev/zero", "w"):
        (tmp_path / "m" / "w").unlink()
        (tmp_path / "m" / "w").symlink_to(target)
        with pytest.raises(CheckpointError, match=r"link out of its folder|not a complete folder"):
            read_folder(tmp_path / "m")
    (tmp_path / "m" / "w").unlink()
    os.mkfifo(tmp_path / "m" / "w")
    with pytest.raises(CheckpointError, match="a pipe, not an ordinary file"):
        read_folder(tmp_path / "m")


def test_links_of_the_hubs_cache_are_followed(tmp_path: Path) -> None:
    """Its snapshots hold links to ../../blobs."""
    write_folder(tmp_path / "plain", {"w": b"a"})
    snapshot, blobs = tmp_path / "models--a--b" / "snapshots" / "0f", tmp_path / "models--a--b" / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    for path in (tmp_path / "plain").iterdir():
        path.rename(blobs / f"blob-{path.name}")
        (snapshot / path.name).symlink_to(f"../../blobs/blob-{path.name}")
    assert read_folder(snapshot) == {"w": b"a"}
    (tmp_path / "linked").symlink_to(snapshot)  # and so is a link to the whole folder
    assert read_folder(tmp_path / "linked") == {"w": b"a"}


@pytest.mark.parametrize(
    "manifest",
    [
        "[" * 200_000,
        '{"w": {"bytes": -1, "sha256": "%s"}}' % ("0" * 64),
        '{"w": {"bytes": 99999999999999, "sha256": "%s"}}' % ("0" * 64),
        '{"w": {"bytes": 1, "sha256": "x"}}',
        '{"w": 1}',
        "[]",
    ],
)
def test_a_manifest_that_is_none_is_refused(tmp_path: Path, manifest: str) -> None:
    write_folder(tmp_path / "m", {"w": b"a"})
    (tmp_path / "m" / MANIFEST).write_text(manifest)
    with pytest.raises(CheckpointError, match="is not a manifest"):
        read_folder(tmp_path / "m")


def test_a_file_longer_than_its_manifest_says_is_not_read_to_its_end(tmp_path: Path) -> None:
    write_folder(tmp_path / "m", {"w": b"a"})
    with (tmp_path / "m" / "w").open("r+b") as file:
        file.truncate(2**40)  # takes no room on the disk
    with pytest.raises(CheckpointError, match="more than 1 bytes"):
        read_folder(tmp_path / "m")


def test_numbers_that_json_lacks_become_null_and_names_that_utf_8_lacks_come_back(tmp_path: Path) -> None:
    """A loss of NaN made metrics.jsonl unreadable; a file name in Latin-1 ended a training at its first line."""
    write_json(tmp_path / "a", {"loss": float("nan"), "all": [float("inf"), 1.5], "name": "caf\udce9.png"})
    text = (tmp_path / "a").read_text(encoding="utf-8")
    assert json.loads(text, parse_constant=pytest.fail) == {"loss": None, "all": [None, 1.5], "name": "caf\udce9.png"}
    write_text(tmp_path / "b", "caf\udce9")
    assert (tmp_path / "b").read_text(encoding="utf-8") == "caf\\udce9"
