"""Whole or in windows, and the sizes at which the network then sees a picture."""

from dataclasses import replace

from denselab.engine.torch_engine import TorchEngine
from denselab.inference.plan import Plan
from denselab.inference.route import Windows, routes, scaled, whole_sizes


def test_scaled_sizes() -> None:
    assert scaled((10, 1), 0.25) == (2, 1)
    assert scaled((10, 1), 1.0) == (10, 1)


def test_a_whole_picture_is_fitted_at_each_scale(engine: TorchEngine) -> None:
    assert whole_sizes(Plan((engine,), scales=(0.5, 1.0, 2.0)), (20, 40)) == [(8, 16), (16, 32), (32, 64)]


def test_windows_by_hand(engine: TorchEngine) -> None:
    """At half the scale a window of 32 network pixels shows 64 of the picture; what is cut off at its end, fewer."""
    halved = replace(engine.spec, preprocessing=replace(engine.spec.preprocessing, train_scale=0.5))
    [windows] = routes(Plan((replace(engine, spec=halved),), window=(32, 48)), (500, 500))
    assert windows == Windows((64, 96), 0.5)
    assert windows.sizes((64, 96), (1.0, 2.0)) == [(32, 48), (64, 96)]
    assert windows.sizes((7, 96), (1.0,)) == [(3, 41)]


def test_memory_decides_only_where_no_window_was_asked_for(engine: TorchEngine) -> None:
    windows = [Windows((side, side), 0.25) for side in (3072, 1536, 768)]  # each is tried if the one before did not fit
    assert routes(Plan((engine,)), (64, 128)) == [None, *windows]
    assert routes(Plan((Full(engine.spec, engine.network, engine.device),)), (64, 128)) == windows


class Full(TorchEngine):
    """Has no memory for a whole picture."""

    def fits(self, size: tuple[int, int]) -> bool:
        return False
