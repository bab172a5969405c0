"""The size at which a picture fits into a box. Training and prediction share it, so both see a picture at one size."""

Size = tuple[int, int]


def fit_factor(size: Size, imgsz: tuple[float, float]) -> float:
    """The factor that scales a picture of `size` to the largest that fits into `imgsz`, both (height, width)."""
    return min(imgsz[0] / size[0], imgsz[1] / size[1])


def shrunk_size(size: Size, longest: int) -> Size:
    """(H, W) of a picture of `size` with its longer side reduced to `longest` where it is larger; at least 1x1."""
    return size if max(size) <= longest else fit_size(size, (longest, longest))


def fit_size(size: Size, imgsz: Size) -> Size:
    """(H, W) of a picture of `size` scaled, aspect kept, to the largest that fits into imgsz; at least 1x1."""
    factor = fit_factor(size, imgsz)
    return (min(max(round(size[0] * factor), 1), imgsz[0]), min(max(round(size[1] * factor), 1), imgsz[1]))
