"""What a run costs the first time, and what a second one costs when what the first made is kept.

    python benchmarks/second_run.py --sample=100 --chunk=25 -n 2
    python benchmarks/second_run.py --ipfs-models=@strata

Runs pytest twice in an empty directory with a store of its own; arguments that are not the script's are pytest's. A sample is
of so many model types, as many of each category as its part of the registry, and always the same; ``--chunk`` runs so many of
it at a time, so that an end before the last one loses no more than a chunk. For each hardware and stage: the seconds of both
runs and their ratio, which are printed after each chunk of all so far; below that the wall-clock time of both.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pytest_ipfs_accelerate.registry import CATEGORIES, Registry, load_registry

HARDWARE = "cpu,onnxruntime,openvino,qualcomm,apple"


@dataclass
class Cost:
    """What runs took: seconds of wall-clock time, cases by outcome, and seconds by hardware and stage."""

    wall: float = 0.0
    counts: Counter[str] = field(default_factory=Counter)
    seconds: Counter[tuple[str, str]] = field(default_factory=Counter)


def run(arguments: list[str], directory: Path, report: Path, cost: Cost) -> None:
    """One run, added to ``cost``; its report is left in ``report``."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--ipfs-json={report}", *arguments]
    started = time.perf_counter()
    # Cases may fail; what is asked here is what they cost.
    done = subprocess.run(command, cwd=directory, check=False, capture_output=True, text=True)
    cost.wall += time.perf_counter() - started
    if not report.exists():
        sys.exit(f"{' '.join(command)}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    found = json.loads(report.read_text("utf-8"))
    cost.counts.update(found["counts"])
    for verdict in found["verdicts"]:
        for stage, spent in verdict["seconds"].items():
            cost.seconds[verdict["hardware"], stage] += spent


def sample(registry: Registry, size: int) -> list[str]:
    """So many model types, as many of each category as its part of the registry: each category in an order of its own, and of
    all those that come soonest in theirs."""
    places = []
    for category in CATEGORIES:
        models = sorted(model for model in registry if registry.category(model) == category)
        random.Random(0).shuffle(models)
        places += [((place + 0.5) / len(models), model) for place, model in enumerate(models)]
    return [model for _, model in sorted(places)[:size]]


def chunks(options: argparse.Namespace) -> Iterator[list[str]]:
    """The arguments that select the model types of each pair of runs."""
    if not options.sample:
        yield []
        return
    models = sample(load_registry(), options.sample)
    size = options.chunk or len(models)
    for start in range(0, len(models), size):
        yield [f"--ipfs-models={','.join(models[start : start + size])}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0], allow_abbrev=False)
    parser.add_argument("--sample", type=int, metavar="N", help="run N model types (default: what --ipfs-models says)")
    parser.add_argument("--chunk", type=int, metavar="N", help="of the sample, N at a time (default: all at once)")
    parser.add_argument("--reports", type=Path, metavar="DIR", help="keep the reports of all runs, for calibration.py")
    options, arguments = parser.parse_known_args()
    if not any(argument.startswith("--ipfs-hardware") for argument in arguments):
        arguments.append(f"--ipfs-hardware={HARDWARE}")
    costs = Cost(), Cost()
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        reports: Path = options.reports.resolve() if options.reports else directory
        reports.mkdir(parents=True, exist_ok=True)
        arguments.append(f"--ipfs-cache-dir={directory / 'store'}")
        for number, chosen in enumerate(chunks(options)):
            for turn, cost in zip(("first", "second"), costs, strict=True):
                run([*chosen, *arguments], directory, reports / f"{turn}-{number}.json", cost)
            kept = [path.stat().st_size for path in (directory / "store").rglob("*") if path.is_file()]
            print(f"kept: {len(kept)} files, {sum(kept) / 2**20:.0f} MiB")
            table(*costs)


def table(first: Cost, second: Cost) -> None:
    print(f"first run {dict(first.counts)}\nsecond    {dict(second.counts)}")
    print(f"{'hardware':12} {'stage':10} {'first, s':>9} {'second, s':>9} {'ratio':>6}")
    for hardware, stage in first.seconds:
        print(line(hardware, stage, *(cost.seconds[hardware, stage] for cost in (first, second))))
    for hardware in dict.fromkeys(key[0] for key in first.seconds):
        sums = (sum(s for key, s in cost.seconds.items() if key[0] == hardware) for cost in (first, second))
        print(line(hardware, "all", *sums))
    print(line("all", "all", first.seconds.total(), second.seconds.total()))
    print(line("wall clock", "", first.wall, second.wall), flush=True)


def line(hardware: str, stage: str, first: float, second: float) -> str:
    ratio = f"{second / first:6.2f}" if first else "     -"
    return f"{hardware:12} {stage:10} {first:9.2f} {second:9.2f} {ratio}"


if __name__ == "__main__":
    main()
