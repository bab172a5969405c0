import pytest
from hypothesis import given
from hypothesis import strategies as st

from denselab.data.listing.pairing import pair_stems


def stems(*names: str) -> list[tuple[str, str]]:
    return [("", name) for name in names]


def test_equal_stems_need_no_rule():
    pairing = pair_stems(stems("a", "b", "c"), stems("c", "a"))
    assert pairing.pairs == ((0, 1), (2, 0))
    assert pairing.rule == ""


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        (("img_001", "img_002"), ("gt_001", "gt_002")),
        (("002_image", "003_image"), ("002_annotation", "003_annotation")),
        (("00000_img", "00001_img"), ("00000_gt", "00001_gt")),
        (("scan_a_x7", "scan_b_x7"), ("a_done", "b_done")),
        (("A1", "B2"), ("a1", "b2")),
    ],
)
def test_one_rule_makes_stems_equal(images, labels):
    pairing = pair_stems(stems(*images), stems(*labels))
    assert pairing.pairs == ((0, 0), (1, 1))
    assert pairing.rule != ""


def test_common_prefix_is_not_cut_into_a_number():
    """img10 and img11 share "img1"; cutting that would pair img10 with mask_20's 0."""
    assert pair_stems(stems("img10", "img11"), stems("z20", "z21")).pairs == ()


def test_same_stem_in_two_folders_stays_apart():
    images = [("train", "0"), ("val", "0")]
    assert pair_stems(images, [("val", "0"), ("train", "0")]).pairs == ((0, 1), (1, 0))


def test_a_rule_that_confuses_two_files_is_dropped():
    assert pair_stems(stems("img_1", "image_1"), stems("gt_1")).pairs == ()


def test_nothing_in_common():
    assert pair_stems(stems("a", "b"), stems("c", "d")).pairs == ()
    assert pair_stems([], []).pairs == ()


@given(
    st.sets(st.integers(0, 99999), min_size=1, max_size=20),
    st.sampled_from(["{}_img", "image{}", "{}"]),
    st.sampled_from(["{}_gt", "mask{}", "{}"]),
)
def test_numbered_names_pair_by_their_number(numbers, image, label):
    ordered = sorted(numbers)
    images = stems(*(image.format(f"{n:05d}") for n in ordered))
    labels = stems(*(label.format(f"{n:05d}") for n in reversed(ordered)))
    pairs = pair_stems(images, labels).pairs
    assert pairs == tuple((i, len(ordered) - 1 - i) for i in range(len(ordered)))


def test_equal_stems_without_a_partner_do_no_harm():
    """MVTec: train/good/000 and test/good/000 have no mask, and kept test/crack/000 from its own."""
    images = [("good", "000"), ("good", "000"), ("crack", "000")]
    assert pair_stems(images, [("crack", "000")]).pairs == ((2, 0),)
    assert pair_stems(images, [("good", "000")]).pairs == ()


def test_zeros_before_numbers_do_not_count():
    """images/1.png beside masks/001.png: a pattern was offered, which cannot tell."""
    numbers = range(1, 11)
    found = pair_stems(stems(*map(str, numbers)), stems(*(f"{number:03d}" for number in numbers)))
    assert found.pairs == tuple((n, n) for n in range(10))
    assert found.rule == "zeros before a number do not count"
    assert pair_stems(stems("p10", "p1"), stems("p010", "p01")).pairs == ((0, 0), (1, 1))
    assert pair_stems(stems("1", "01"), stems("001", "2")).pairs == ()  # two pictures of one number
