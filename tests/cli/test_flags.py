"""The command line is a contract: its commands and flags, written down, so that none comes or goes unseen."""

import typer

from denselab.cli.main import app

CONTRACT = {
    "demo": {"--out", "--seed"},
    "check": {"--out", "--workers", "--seed", "--json"},
    "train": {
        *("--out", "--model", "--encoder", "--time", "--epochs", "--imgsz", "--batch", "--pretrained", "--device"),
        *("--workers", "--seed", "--resume", "--config", "--dry-run", "--json", "--init", "--stages"),
    },
    "eval": {
        "--split",
        "--tta",
        "--output-stride",
        "--window",
        "--out",
        "--device",
        "--seed",
        "--val-fraction",
        "--json",
    },
    "predict": {
        "--out",
        "--tta",
        "--output-stride",
        "--window",
        "--probs",
        "--uncertainty",
        "--samples",
        "--device",
        "--json",
    },
    "models": {"--json"},
    "info": {"--imgsz", "--classes", "--encoder", "--output-stride", "--all", "--json"},
    "explain": {"--out", "--pixel", "--class", "--device", "--json"},
    "convert": {"--from", "--model", "--out", "--encoder", "--classes", "--labels", "--json"},
    "doctor": {"--json"},
}


def flags_of(command: str) -> set[str]:
    group = typer.main.get_command(app)
    return {flag for parameter in group.commands[command].params for flag in parameter.opts if flag.startswith("--")}


def test_flags() -> None:
    group = typer.main.get_command(app)
    assert set(group.commands) == {*CONTRACT, "val"}
    for command, flags in CONTRACT.items():
        assert flags_of(command) == flags, command
    assert flags_of("val") == flags_of("eval"), "val is another name of eval"
