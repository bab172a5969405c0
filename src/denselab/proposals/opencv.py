"""Edge boxes and selective search of opencv-contrib, on our own edge maps; the extra `proposals` installs it."""

from types import ModuleType

import numpy as np

from denselab.data.resizing.resize import resize_image
from denselab.errors import MissingExtra, install
from denselab.proposals.boxes import NONE, Boxes, areas
from denselab.proposals.edges import edge_map, thinned
from denselab.types import Image

# edgeBoxes.m of the authors' release: their defaults, except the suppression, which their paper sets by the overlap
# that counts; 0.75 is for an overlap of 0.7.
ALPHA, BETA = 0.65, 0.75
MIN_AREA = 1000  # pixels of the picture itself
SEARCHED_SIDE = 500  # pixels: both sources take seconds for larger pictures, and their authors' had this size
LEAST_SIDE = 8  # pixels: smaller segments are no objects
TINY = 16  # pixels: OpenCV's search ends the process on thinner pictures


def edge_boxes(image: Image, most: int) -> Boxes:
    """The `most` best edge boxes (Zitnick, Dollar, ECCV 2014) of a picture (H, W, 3) uint8, the best first.

    Raises MissingExtra.
    """
    cv2 = _opencv("edgeboxes")
    if min(image.shape[:2]) < TINY:
        return NONE
    small, factor = _searched(image)
    magnitude, orientation = edge_map(small)
    area = min(MIN_AREA * factor**2, small.shape[0] * small.shape[1] // 16)  # of a small picture's objects
    finder = cv2.ximgproc.createEdgeBoxes(alpha=ALPHA, beta=BETA, maxBoxes=most, minBoxArea=float(area))
    found, scores = finder.getBoundingBoxes(thinned(magnitude, orientation), orientation)
    if len(found) == 0:
        return NONE
    order = np.argsort(-np.asarray(scores).ravel(), kind="stable")[:most]
    return _at_size(_corners(np.asarray(found, np.int64)[order]), small, image)


def selective_search(image: Image, most: int) -> Boxes:
    """The `most` first boxes of selective search, fast mode (Uijlings et al., IJCV 2013), of a picture (H, W, 3) uint8.

    It ranks nothing: boxes come from the largest, the last merged, to the smallest, as the paper's figure 6 adds them.
    Raises MissingExtra.
    """
    cv2 = _opencv("selective")
    if min(image.shape[:2]) < TINY:
        return NONE
    small, _ = _searched(image)
    search = cv2.ximgproc.segmentation.createSelectiveSearchSegmentation()
    search.setBaseImage(np.ascontiguousarray(small[..., ::-1]))
    search.switchToSelectiveSearchFast()
    boxes = _corners(np.asarray(search.process(), np.int64).reshape(-1, 4))
    boxes = np.unique(_at_size(boxes, small, image), axis=0)
    boxes = boxes[((boxes[:, 2:] - boxes[:, :2]) >= LEAST_SIDE).all(axis=1)]
    return np.asarray(boxes[np.argsort(-areas(boxes), kind="stable")][:most])


def opencv_version(source: str) -> str:
    """The version of OpenCV that searches. source: for the message. Raises MissingExtra."""
    return str(_opencv(source).__version__)


def _searched(image: Image) -> tuple[Image, float]:
    """The picture, reduced where its longer side is above SEARCHED_SIDE, and the factor of the reduction."""
    height, width = image.shape[:2]
    factor = min(SEARCHED_SIDE / max(height, width), 1.0)
    return resize_image(image, (max(round(height * factor), TINY), max(round(width * factor), TINY))), factor


def _at_size(boxes: Boxes, small: Image, image: Image) -> Boxes:
    """Boxes of the reduced picture in pixels of the picture itself."""
    scale = np.array([image.shape[0] / small.shape[0], image.shape[1] / small.shape[1]] * 2)
    return np.asarray(np.rint(boxes * scale), dtype=np.int64)


def _corners(found: Boxes) -> Boxes:
    """(top, left, bottom, right) of OpenCV's (x, y, width, height)."""
    left, top, width, height = found.T
    return np.stack([top, left, top + height, left + width], axis=1)


def _opencv(source: str) -> ModuleType:
    try:
        import cv2  # in the extra `proposals`
        import cv2.ximgproc
    except ImportError:
        raise MissingExtra(
            f"proposals {source!r} need OpenCV with its contributed modules; install it: "
            f"{install('proposals')}, or use `proposals` windows, which need nothing"
        ) from None
    return cv2
