"""The command line is a contract: its commands and flags, written down, so that none comes or goes unseen."""

import typer

from denselab.cli.main import app

CONTRACT = {
    "demo": {"--out", "--seed"},
    "check": {"--out", "--workers", "--seed", "--json", "--display-bands"},
    "train": {
        *("--out", "--model", "--encoder", "--time", "--epochs", "--imgsz", "--batch", "--pretrained", "--device"),
        *(
            "--workers",
            "--seed",
            "--resume",
            "--config",
            "--dry-run",
            "--json",
            "--init",
            "--stages",
            "--crf-layer",
            "--labels",
        ),
    },
    "eval": {
        *("--ensemble", "--save", "--no-cache"),
        *("--proposals", "--aggregate", "--boxes", "--instance-wise"),
        "--split",
        "--tta",
        "--output-stride",
        "--window",
        "--crf",
        "--crf-preset",
        "--crf-fast",
        "--out",
        "--engine",
        "--device",
        "--seed",
        "--val-fraction",
        "--display-bands",
        "--json",
    },
    "compare": {
        *("--models", "--time", "--budget", "--with", "--folds", "--seeds", "--split", "--ways", "--imgsz", "--out"),
        *("--device", "--resume", "--no-cache", "--dry-run", "--json"),
    },
    "diagnose": {"--split", "--window", "--tta", "--calibrate", "--out", "--device", "--json"},
    "pseudo-label": {"--out", "--confidence", "--tta", "--window", "--device", "--json"},
    "predict": {
        "--format",
        "--imgsz",
        *("--proposals", "--aggregate", "--boxes", "--instance-wise"),
        "--out",
        "--tta",
        "--output-stride",
        "--window",
        "--probs",
        "--uncertainty",
        "--samples",
        "--crf",
        "--crf-preset",
        "--crf-fast",
        "--steps",
        "--display-bands",
        "--engine",
        "--device",
        "--json",
        *("--polygons", "--shard", "--redo", "--manifest", "--every", "--smooth", "--ray", "--no-overlays"),
    },
    "refine": {
        *("--out", "--preset", "--theta-alpha", "--theta-beta", "--w1", "--theta-gamma", "--w2", "--iterations"),
        *(
            "--normalization",
            "--confidence",
            "--labels",
            "--axes",
            "--probs",
            "--steps",
            "--class",
            "--crf-fast",
            "--threads",
            "--json",
        ),
    },
    "crf": set(),
    "models": {"--json"},
    "info": {"--imgsz", "--classes", "--encoder", "--output-stride", "--all", "--diagram", "--json"},
    "explain": {
        *("--out", "--pixel", "--class", "--device", "--json"),
        *("--proposals", "--aggregate", "--boxes", "--against", "--language"),
    },
    "convert": {"--from", "--model", "--out", "--encoder", "--classes", "--labels", "--json"},
    "export": {"--to", "--out", "--int8", "--bf16", "--labels", "--opset", "--check", "--json"},
    "doctor": {"--json"},
}


def flags_of(command: str) -> set[str]:
    group = typer.main.get_command(app)
    return {flag for parameter in group.commands[command].params for flag in parameter.opts if flag.startswith("--")}


def test_flags_of_crf_tune() -> None:
    tune = typer.main.get_command(app).commands["crf"].commands
    assert set(tune) == {"tune"}
    flags = {flag for parameter in tune["tune"].params for flag in parameter.opts if flag.startswith("--")}
    expected = ("--split", "--time", "--strategy", "--pictures", "--window", "--tta", "--out", "--device", "--json")
    assert flags == set(expected)


def test_flags() -> None:
    group = typer.main.get_command(app)
    assert set(group.commands) == {*CONTRACT, "val"}
    for command, flags in CONTRACT.items():
        assert flags_of(command) == flags, command
    assert flags_of("val") == flags_of("eval"), "val is another name of eval"
