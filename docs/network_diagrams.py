"""The diagrams of docs/lineage.md, drawn from the networks themselves: what `denselab info NAME --diagram` writes.

python docs/network_diagrams.py
"""

from dataclasses import replace
from pathlib import Path

from denselab.inspection.subject import find_subject
from denselab.report.diagram import network_diagram

OUT = Path(__file__).parent / "images" / "networks"
NAMES = ("fcn8s", "unet_paper", "deconvnet", "deeplabv3plus_xception65")


def main() -> None:
    """Draw all of them."""
    OUT.mkdir(parents=True, exist_ok=True)
    for name in NAMES:
        subject = find_subject(name)
        drawn = network_diagram(replace(subject, imgsz=subject.entry.figure_size))
        (OUT / f"{name}.svg").write_text(drawn, encoding="utf-8")
        print(OUT / f"{name}.svg")


if __name__ == "__main__":
    main()
