"""How far each hardware departs from the reference, over the verdicts of one or more runs, beside the bound that it is held to.

    pytest -n 2 --ipfs-all --ipfs-json=run.json
    python benchmarks/calibration.py run.json

For each hardware and precision: how many outputs were compared, quantiles of their relative L2, and the bound over the 99.9th
percentile. A bound far above that lets faults through; one below it fails what only rounds, but for outputs of models that
rounding takes so far that torch's own departure is their bound: how many those are is counted (own). What is off by more than
a hundred bounds is no rounding: it is left out (faults), and so are known failures, which have a cause of their own. The
largest of the others are named: whether one is a fault or an ill-conditioned model is for a person to find out.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pytest_ipfs_accelerate.parity import TOLERANCES, tolerance_of

QUANTILES = (0.5, 0.99, 0.999, 1.0)
COLUMNS = ("median", "99 %", "99.9 %", "max", "bound", "×")
FAULT = 100.0
"""So many times the bound is no rounding."""

MOST = 3.0
"""A bound at most this many times the 99.9th percentile is calibrated."""


class Error(NamedTuple):
    """The relative L2 of one output, where it was found, and the bound that it was held to."""

    relative_l2: float
    where: str
    bound: float


def errors(verdict: dict[str, Any]) -> Iterator[Error]:
    """Of one verdict, every raw output held against the reference whose relative error decided: one that passes by its absolute
    bound alone (a number close to zero) says nothing about rounding."""
    for comparison in verdict["comparisons"]:
        error, bound = comparison["relative_l2"], comparison["bound"]
        settled = error is not None and (error <= bound or comparison["max_abs"] > comparison["absolute_bound"])
        if settled and comparison["against"].startswith("reference"):
            case = f"{verdict['model']}::{verdict['task']}"
            yield Error(error, f"{case}, {comparison['output']} ({comparison['against']})", bound)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("runs", nargs="+", type=Path, help="JSON files of runs (--ipfs-json)")
    parser.add_argument("--worst", type=int, default=5, metavar="N", help="name the N largest of each (default: 5)")
    arguments = parser.parse_args()
    found: dict[tuple[str, str], list[Error]] = defaultdict(list)
    for path in arguments.runs:
        for verdict in json.loads(path.read_text("utf-8"))["verdicts"]:
            if verdict["outcome"] == "known":
                continue
            own = (f"{verdict['hardware']} {verdict.get('implementation')}", verdict["precision"])
            found[own if own in TOLERANCES else (verdict["hardware"], verdict["precision"])] += errors(verdict)
    print(
        f"{'hardware':12} {'precision':9} {'outputs':>7} {'own':>5} {'faults':>6}", *(f"{name:>8}" for name in COLUMNS)
    )
    for (hardware, precision), some in sorted(found.items()):
        if some:
            report(hardware, precision, some, arguments.worst)


def report(hardware: str, precision: str, found: list[Error], worst: int) -> None:
    """Print the line of one hardware and precision, and its largest errors."""
    bound = tolerance_of(hardware, precision).relative_l2
    rounding = [error for error in found if error.relative_l2 <= FAULT * bound]
    quantiles = np.quantile([error.relative_l2 for error in rounding], QUANTILES)
    numbers = " ".join(f"{number:8.1e}" for number in (*quantiles, bound))
    own, faults = sum(error.bound > bound for error in found), len(found) - len(rounding)
    print(f"{hardware:12} {precision:9} {len(found):7} {own:5} {faults:6} {numbers} {judged(bound, quantiles[2])}")
    for error in sorted(rounding, reverse=True)[:worst]:
        if error.relative_l2:
            print(f"    {error.relative_l2:8.1e}  {error.where}")


def judged(bound: float, percentile: float) -> str:
    if not percentile:
        return "   exact"
    ratio = bound / percentile
    word = "calibrated" if 1 <= ratio <= MOST else "too wide" if ratio > MOST else "too narrow"
    return f"{ratio:8.2f} {word}"


if __name__ == "__main__":
    main()
