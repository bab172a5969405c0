"""comparison.json: the answer of a comparison for programs."""

from dataclasses import asdict
from typing import Any

import numpy as np

from denselab.comparison.gains import Gain
from denselab.comparison.result import Comparison, Row
from denselab.comparison.usage import commands
from denselab.evaluation.bootstrap import rounded
from denselab.evaluation.ranking import Verdict

DIGITS = 4


def document(comparison: Comparison) -> dict[str, Any]:
    """The whole answer as plain data; scores in 0..1."""
    recommended = comparison.recommended
    return {
        "data": comparison.plan.data,
        "pictures": len(comparison.items),
        "recommended": None if recommended is None else recommended.name,
        "sentence": comparison.sentence,
        "models": [_row(row, comparison.ranking.entrants[0].evaluations[0].classes) for row in comparison.rows],
        "verdicts": [_verdict(verdict) for verdict in comparison.verdicts],
        "failed": [{"run": name, "reason": reason} for name, reason in comparison.failed],
        "plan": asdict(comparison.plan),
        "use": commands(comparison),
        "command": comparison.plan.command(),
        "out": str(comparison.out),
    }


def _row(row: Row, classes: tuple[str, ...]) -> dict[str, Any]:
    spread = row.entrant.spread
    return {
        "name": row.name,
        "miou": round(row.miou, DIGITS),
        "miou_low": None if row.interval is None else round(row.interval.low, DIGITS),
        "miou_high": None if row.interval is None else round(row.interval.high, DIGITS),
        "spread_over_seeds": None if spread is None else round(spread, DIGITS),
        "ways": {way: round(value, DIGITS) for way, value in row.ways.items()},
        "gains": {way: _gain(gain) for way, gain in row.gains.items()},
        "class_iou": {
            name: None if np.isnan(value) else round(float(value), DIGITS)
            for name, value in zip(classes, row.entrant.class_iou, strict=True)
        },
        "cost": None if row.cost is None else asdict(row.cost),
        "runs": [str(run) for run in row.runs],
        "training_seconds": row.seconds,
        "trained_on": row.trained_on,
        "no_better_than": row.no_better_than or None,
    }


def _gain(gain: Gain) -> dict[str, Any]:
    low, high = gain.interval or (None, None)
    return {
        "difference": rounded(gain.difference, DIGITS),
        "low": rounded(low, DIGITS),
        "high": rounded(high, DIGITS),
        "certain": gain.certain,
    }


def _verdict(verdict: Verdict) -> dict[str, Any]:
    low, high = verdict.interval or (None, None)
    return {
        "first": verdict.first,
        "second": verdict.second,
        "difference": rounded(verdict.difference, DIGITS),
        "low": rounded(low, DIGITS),
        "high": rounded(high, DIGITS),
        "certain": verdict.certain,
        "sentence": verdict.sentence,
    }
