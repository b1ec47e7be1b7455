"""How well do the rules do alone? Leaves model types out, proposes their rows without what a person found out, and counts.

    python benchmarks/proposals.py [COUNT] [SEED]       # default: 60 model types, seed 0

The exceptions (``proposals/exceptions``) are switched off, so that what is measured is what happens to a model type that a
newer transformers adds. A row that needs a library which is not installed here counts neither way.
"""

from __future__ import annotations

import os
import random
import sys
from collections import Counter

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

import torch

from pytest_ipfs_accelerate.proposals import exceptions
from pytest_ipfs_accelerate.proposals.heads import heads
from pytest_ipfs_accelerate.proposals.trial import missing_library, propose
from pytest_ipfs_accelerate.verdict import Outcome


def main(count: int = 60, seed: int = 0) -> None:
    torch.set_num_threads(1)
    exceptions.tables = dict  # type: ignore[assignment]
    chosen = sorted(random.Random(seed).sample(sorted(heads()), count))
    rows: Counter[str] = Counter()
    whole = 0
    for model in chosen:
        found = Counter[str]()
        for head in heads()[model]:
            verdict = propose(head).verdict
            kind = "left out" if missing_library(verdict) else verdict.outcome.value
            found[kind] += 1
            if verdict.outcome is not Outcome.PASSED:
                print(f"  {model}::{head.key}: {verdict.reason[:120]}")
        rows += found
        whole += found["passed"] == len(heads()[model]) - found["left out"]
        print(f"{model}: {found['passed']} of {sum(found.values())}", flush=True)
    counted = sum(rows.values()) - rows["left out"]
    print(f"\nfrom rules alone: {rows['passed']} of {counted} rows pass ({rows['passed'] / counted:.1%});")
    print(
        f"{whole} of {count} model types pass with every row; {rows['left out']} rows need a library that is not here"
    )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
