"""What a run costs the first time, and what a second one costs when what the first made is kept.

    python benchmarks/second_run.py --sample=100 --chunk=20 --reports=DIR -n 2
    python benchmarks/second_run.py [arguments of pytest, default --ipfs-models=@strata]

Runs pytest twice in an empty directory with a store of its own; arguments that are not the script's are pytest's. A sample is
of so many model types, as many of each category as its part of the registry, and always the same; ``--chunk`` runs so many of
it at a time. What stands in ``--reports`` is not run again: hours of work need not be of one day. For each hardware and stage:
the seconds of both runs and their ratio, of the cases that ended in both (one that timed out has no times of its stages); below
that the wall-clock time of everything. Both are printed after each chunk, of all so far.
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
from pathlib import Path
from typing import Any

from pytest_ipfs_accelerate.registry import CATEGORIES, Registry, load_registry
from pytest_ipfs_accelerate.verdict import Stage

HARDWARE = "cpu,onnxruntime,openvino,qualcomm,apple"


WALLS = "walls.json"
"""In the directory of reports: by pair of runs, what pytest was told and the wall-clock seconds of both."""

Seconds = Counter[tuple[str, str]]
"""By hardware and stage."""


def run(arguments: list[str], directory: Path, report: Path) -> float:
    """The wall-clock seconds of one run, whose report is left in ``report``."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--ipfs-json={report}", *arguments]
    report.unlink(missing_ok=True)
    started = time.perf_counter()
    # Cases may fail; what is asked here is what they cost.
    done = subprocess.run(command, cwd=directory, check=False, capture_output=True, text=True)
    seconds = time.perf_counter() - started
    if not report.exists():
        sys.exit(f"{' '.join(command)}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return seconds


def run_twice(arguments: list[str], directory: Path, pair: list[Path]) -> list[float]:
    """The wall-clock seconds of two runs with a store of their own, now, or at an earlier time where both were done."""
    walls = pair[0].parent / WALLS
    known: dict[str, Any] = json.loads(walls.read_text("utf-8")) if walls.exists() else {}
    done = known.get(pair[0].stem, {})
    if done.get("arguments") != arguments or not all(report.exists() for report in pair):
        store = f"--ipfs-cache-dir={directory / pair[0].stem}"
        done = {"arguments": arguments, "seconds": [run([*arguments, store], directory, report) for report in pair]}
        walls.write_text(json.dumps({**known, pair[0].stem: done}, indent=1), "utf-8")
    return list(done["seconds"])


def costs(pair: list[Path]) -> tuple[list[Counter[str]], list[Seconds]]:
    """Of the reports of two runs: cases by outcome, and the seconds of those that ended in both."""
    found = [json.loads(report.read_text("utf-8")) for report in pair]
    ended = [
        {
            (verdict["model"], verdict["task"], verdict["hardware"]): verdict["seconds"]
            for verdict in report["verdicts"]
            if verdict["seconds"]
        }
        for report in found
    ]
    seconds: list[Seconds] = [Counter(), Counter()]
    for case in ended[0].keys() & ended[1].keys():
        for spent, cases in zip(seconds, ended, strict=True):
            spent.update({(case[-1], stage): took for stage, took in cases[case].items()})
    return [Counter(report["counts"]) for report in found], seconds


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
        yield []  # what pytest's own arguments say
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
    if not options.sample and not arguments:
        arguments = ["--ipfs-models=@strata"]
    if not any(argument.startswith("--ipfs-hardware") for argument in arguments):
        arguments.append(f"--ipfs-hardware={HARDWARE}")
    walls, counts, seconds = [0.0, 0.0], [Counter[str](), Counter[str]()], [Seconds(), Seconds()]
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        reports: Path = options.reports.resolve() if options.reports else directory
        reports.mkdir(parents=True, exist_ok=True)
        for number, chosen in enumerate(chunks(options)):
            pair = [reports / f"{turn}-{number}.json" for turn in ("first", "second")]
            for turn, took in enumerate(run_twice([*chosen, *arguments], directory, pair)):
                walls[turn] += took
            outcomes, spent = costs(pair)
            for turn in range(2):
                counts[turn].update(outcomes[turn])
                seconds[turn].update(spent[turn])
            kept = [path.stat().st_size for path in (directory / pair[0].stem).rglob("*") if path.is_file()]
            print(f"first run {dict(counts[0])}\nsecond    {dict(counts[1])}")
            if kept:
                print(f"kept of the last: {len(kept)} files, {sum(kept) / 2**20:.0f} MiB")
            table(seconds, walls)


def table(seconds: list[Seconds], walls: list[float]) -> None:
    print(f"{'hardware':12} {'stage':10} {'first, s':>9} {'second, s':>9} {'ratio':>6}")
    order = {stage: place for place, stage in enumerate(Stage)}
    keys = sorted(seconds[0], key=lambda key: (key[0], order[Stage(key[1])]))
    for hardware, stage in keys:
        print(line(hardware, stage, *(spent[hardware, stage] for spent in seconds)))
    for hardware in dict.fromkeys(key[0] for key in keys):
        print(line(hardware, "all", *(sum(s for key, s in spent.items() if key[0] == hardware) for spent in seconds)))
    print(line("all", "all", *(spent.total() for spent in seconds)))
    print(line("wall clock", "", *walls), flush=True)


def line(hardware: str, stage: str, first: float, second: float) -> str:
    ratio = f"{second / first:6.2f}" if first else "     -"
    return f"{hardware:12} {stage:10} {first:9.2f} {second:9.2f} {ratio}"


if __name__ == "__main__":
    main()
