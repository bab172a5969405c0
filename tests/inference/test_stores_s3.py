"""Pictures and results in S3, on a moto server of this machine."""

import io
import os
from collections.abc import Iterator

import pytest
from PIL import Image as PILImage

from denselab.engine.torch_engine import TorchEngine
from denselab.inference.collection import predict_files
from denselab.inference.job import Job
from denselab.inference.plan import plan_for
from denselab.inference.stores import place_of, walk_store

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
pytest.importorskip("s3fs")
server = pytest.importorskip("moto.server")


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    """The file system of a server with the bucket "photos"."""
    import fsspec

    running = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    running.start()
    host, port = running.get_host_and_port()
    for name, value in (
        ("AWS_ENDPOINT_URL", f"http://{host}:{port}"),
        ("AWS_ACCESS_KEY_ID", "x"),
        ("AWS_SECRET_ACCESS_KEY", "x"),
        ("AWS_DEFAULT_REGION", "us-east-1"),
    ):
        monkeypatch.setenv(name, value)
    assert os.environ["AWS_ENDPOINT_URL"]
    fsspec.filesystem("s3").clear_instance_cache()
    system = fsspec.filesystem("s3")
    system.mkdir("photos")
    yield system
    system.clear_instance_cache()
    running.stop()


def test_from_s3_to_s3(s3: object, engine: TorchEngine) -> None:
    buffer = io.BytesIO()
    PILImage.new("RGB", (6, 4), (255, 0, 0)).save(buffer, "PNG")
    for name in ("a.png", "sub/b.png"):
        s3.pipe(f"photos/in/{name}", buffer.getvalue())  # type: ignore[attr-defined]
    s3.invalidate_cache()  # type: ignore[attr-defined]
    for again in (False, True):
        with place_of("s3://photos/out") as place:
            results, skipped = predict_files(
                Job(plan_for(engine), place, model="m"), list(walk_store("s3://photos/in")), quiet=True
            )
        assert not skipped
        assert [(r.already, r.shares) for r in results] == [(again, {"red": 1.0})] * 2
    assert s3.exists("photos/out/labels/sub/b.png")  # type: ignore[attr-defined]
