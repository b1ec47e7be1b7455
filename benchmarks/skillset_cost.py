"""What the check of a skill class costs, beside a plain case of the same model, task and hardware.

    python benchmarks/skillset_cost.py [exemplar …]

Runs each of the right exemplars of the tests in this process, and its plain case, in turn; three times after one to warm up,
each as the first case of its model type: nothing is built before. Prints the least seconds of both and their ratio.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
TESTS = Path(__file__).parents[1] / "tests"
sys.path[:0] = [str(TESTS), str(TESTS / "skillset")]

from cases import job  # noqa: E402
from test_exemplars import RIGHT, run  # noqa: E402

from pytest_ipfs_accelerate.opening import shared_bench  # noqa: E402
from pytest_ipfs_accelerate.runner import run_case  # noqa: E402
from pytest_ipfs_accelerate.skillset.foreign import loading  # noqa: E402
from pytest_ipfs_accelerate.verdict import Verdict  # noqa: E402

RUNS = 3


def seconds(work: Callable[[], Verdict]) -> float:
    shared_bench.cache_clear()
    started = time.perf_counter()
    verdict = work()
    assert verdict.ok, f"{verdict.reason}: only what passes has a cost to compare"
    return time.perf_counter() - started


def main(names: list[str]) -> None:
    print(f"{'exemplar':28} {'plain, s':>9} {'class, s':>9} {'ratio':>6}")
    ratios = []
    for name in names:
        case = RIGHT[name]
        plain: Callable[[], Verdict] = lambda case=case: run_case(job(*case), lambda stage: None)  # noqa: E731
        checked: Callable[[], Verdict] = lambda name=name, case=case: run(name, case)  # noqa: E731
        seconds(plain), seconds(checked)
        pairs = [(seconds(plain), seconds(checked)) for _ in range(RUNS)]
        before, after = (min(column) for column in zip(*pairs, strict=True))
        ratios.append(after / before)
        print(f"{name:28} {before:9.3f} {after:9.3f} {ratios[-1]:6.2f}")
        loading._restore()
    print(f"median ratio {statistics.median(ratios):.2f}, largest {max(ratios):.2f}")


if __name__ == "__main__":
    main(sys.argv[1:] or list(RIGHT))
