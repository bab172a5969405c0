"""Shows the page to a headless Chromium and compares its labels with onnxruntime's: `python check.py picture.png`.

Needs what README.md sets up, a PNG (whose pixels every decoder reads alike), and chromium.
"""

import functools
import html
import http.server
import json
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image

HERE = Path(__file__).resolve().parent


def main() -> int:
    """Compare the counts of each label. Returns the exit code."""
    picture = Path(sys.argv[1])
    counts = counts_in_browser(picture)
    session = onnxruntime.InferenceSession(HERE / "labels.onnx", providers=["CPUExecutionProvider"])
    rgb = np.asarray(Image.open(picture).convert("RGB"))
    ids, numbers = np.unique(session.run(["labels"], {"rgb": rgb[None]})[0], return_counts=True)
    expected = dict(zip(ids.tolist(), numbers.tolist(), strict=True))
    others = sum(abs(expected.get(i, 0) - counts.get(i, 0)) for i in {*expected, *counts}) / 2
    print(f"{others:.0f} of {rgb.shape[0] * rgb.shape[1]} pixels differ: {expected} here, {counts} in the browser")
    return int(others > 0.001 * rgb.shape[0] * rgb.shape[1])


def counts_in_browser(picture: Path) -> dict[int, int]:
    """{label id: pixels} that the page finds."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        raise SystemExit("no chromium found")
    shutil.copyfile(picture, HERE / "picture.png")
    handler = functools.partial(Quiet, directory=str(HERE))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server, tempfile.TemporaryDirectory() as profile:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_address[1]}/index.html?picture=picture.png"
        flags = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}", "--timeout=120000"]
        command = [browser, *flags, "--virtual-time-budget=120000", "--dump-dom", address]
        page = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        server.shutdown()
    found = re.search(r'data-counts="([^"]*)"', page)
    if found is None:
        raise SystemExit(f"the page found nothing: {page[-2000:]}")
    return {int(key): number for key, number in json.loads(html.unescape(found[1])).items()}


class Quiet(http.server.SimpleHTTPRequestHandler):
    """The folder's files, without a log."""

    def log_message(self, *arguments: object) -> None:
        pass


if __name__ == "__main__":
    sys.exit(main())
