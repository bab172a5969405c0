"""The runs of a comparison, trained one after the other, or side by side where there are several devices."""

import logging
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from denselab.api import train_run
from denselab.comparison.data import Data
from denselab.comparison.plan import FAILED, RUNS, Member, Plan
from denselab.config import Settings
from denselab.console import progress
from denselab.errors import ConfigError, DenseLabError, Interrupted, ResourceError
from denselab.files import read_json, write_json
from denselab.run_folder import CONFIG, SUMMARY, has_model, has_state

logger = logging.getLogger(__name__)

POLL = 0.2  # seconds between two looks at the processes that train


def run_folder(out: Path, member: Member) -> Path:
    """Where a member is trained."""
    return out / RUNS / member.key


def is_finished(out: Path, member: Member) -> bool:
    """Whether a member's run has come to its end."""
    run = run_folder(out, member)
    summary = read_json(run / SUMMARY)
    return bool(summary) and has_model(run) and summary.get("stopped") != "signal"


def failure(out: Path, member: Member) -> str:
    """Why a member could not be trained; "" where it could, or was not yet tried."""
    return str(read_json(_failed(out, member)).get("reason", ""))


def train_members(plan: Plan, data: Data, out: Path, devices: Sequence[str], command: str) -> None:
    """Train every member that is not finished; one that fails leaves its reason, and the others go on.

    devices: one process trains on each at the same time; a single one is used by this process.
    command: what started the comparison, for the runs' records.
    Raises Interrupted after saving, ResourceError where the folder cannot be written.
    """
    waiting = [member for member in plan.members() if not is_finished(out, member)]
    done = len(plan.members()) - len(waiting)
    if done:
        logger.info(f"{done} of {len(plan.members())} runs are finished already")
    if len(devices) > 1:
        _side_by_side(plan, waiting, out, devices)
        return
    for number, member in enumerate(waiting, done + 1):
        logger.info(f"run {number} of {len(plan.members())}: {member.key}")
        train_member(plan, data, member, out, devices[0], command)


def train_member(plan: Plan, data: Data, member: Member, out: Path, device: str, command: str) -> None:
    """Train one member, or go on with it; where it cannot be trained, the reason goes into MEMBER.failed.json.

    Raises Interrupted after saving, ResourceError.
    """
    run = run_folder(out, member)
    resume = (run / CONFIG).is_file() and has_state(run)
    _failed(out, member).unlink(missing_ok=True)
    try:
        settings = Settings(data=plan.data, device=device) if resume else plan.settings(member, device)
        train_run(settings, run, resume=resume, command=command, dataset=data.of(member))
    except Interrupted as stop:
        raise Interrupted(f"stopped in {member.key}; {how_to_go_on(plan, out)}", stop.exit_code - 128) from None
    except (DenseLabError, torch.OutOfMemoryError) as error:
        if isinstance(error, ResourceError) and not run.parent.is_dir():
            raise
        logger.warning(f"warning: {member.key} could not be trained: {error}")
        write_json(_failed(out, member), {"reason": " ".join(str(error).split()), "kind": type(error).__name__})


def how_to_go_on(plan: Plan, out: Path) -> str:
    """The command that continues a stopped comparison."""
    words = shlex.join(["denselab", "compare", plan.data, "--out", str(out), "--resume"])
    return f"what was trained is saved; `{words}` continues"


def devices_of(words: str) -> list[str]:
    """The devices of "auto" (every GPU of this machine, else the one there is) or of "cuda:0,cuda:1".

    Raises ConfigError under `accelerate launch`, whose processes would all train the same member.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ConfigError(
            "a comparison under `accelerate launch`: its processes would train the same run together; start `denselab "
            "compare` by itself, it puts a run on each GPU"
        )
    if words == "auto" and torch.cuda.is_available() and torch.cuda.device_count() > 1:
        return [f"cuda:{i}" for i in range(torch.cuda.device_count())]
    found = [word.strip() for word in words.split(",") if word.strip()]
    return found or ["auto"]


def _failed(out: Path, member: Member) -> Path:
    return out / RUNS / f"{member.key}{FAILED}"


def _side_by_side(plan: Plan, members: Sequence[Member], out: Path, devices: Sequence[str]) -> None:
    """Train members in processes of their own, one on each device at a time. Raises Interrupted, ResourceError."""
    waiting, busy = list(members), dict[str, tuple[Member, Any]]()
    logger.info(f"{len(waiting)} runs on {len(devices)} devices at a time: {', '.join(devices)}")
    with progress("compare", len(waiting), "runs") as bar:
        try:
            while waiting or busy:
                for device in devices:
                    if device not in busy and waiting:
                        member = waiting.pop(0)
                        busy[device] = member, _start(out, member, device, len(devices))
                time.sleep(POLL)
                for device, (member, process) in list(busy.items()):
                    if process.poll() is not None:
                        del busy[device]
                        _heed(out, member, process.returncode)
                        bar.advance(1, member.key)
        except BaseException as error:  # no process trains on after this one has ended, whatever ended it
            _stop([process for _, process in busy.values()])
            if isinstance(error, KeyboardInterrupt | SystemExit | Interrupted):
                raise Interrupted(f"stopped; {how_to_go_on(plan, out)}", signal.SIGINT) from None
            raise


def _start(out: Path, member: Member, device: str, share: int) -> "subprocess.Popen[bytes]":
    """A process that trains one member. share: how many train at a time; they divide the cores."""
    threads = str(max(1, (os.cpu_count() or 1) // share))
    environment = {"OMP_NUM_THREADS": threads, **os.environ}
    words = [sys.executable, "-m", "denselab.comparison.worker", str(out), member.key, device]
    (out / RUNS).mkdir(parents=True, exist_ok=True)
    with (out / RUNS / f"{member.key}.txt").open("ab") as told:
        return subprocess.Popen(words, env=environment, stdout=told, stderr=told)


def _heed(out: Path, member: Member, code: int) -> None:
    """Note how a process ended. Raises Interrupted where it was stopped by a signal."""
    if code in (130, 143):
        raise Interrupted("stopped", signal.SIGINT)
    if code and not failure(out, member):
        told = out / RUNS / f"{member.key}.txt"
        lines = told.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        reason = lines[-1] if lines and code > 0 else f"its process ended with code {code}"
        if code < 0:  # its last line tells nothing of it
            reason = f"its process was ended by signal {-code}; 9 is sent where memory runs out"
        write_json(_failed(out, member), {"reason": reason, "kind": "process"})
    if reason := failure(out, member):
        logger.warning(f"warning: {member.key} could not be trained: {reason}")


def _stop(processes: Sequence[Any]) -> None:
    """Ask processes to stop, and wait: they save first."""
    for process in processes:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
    for process in processes:
        process.wait()
