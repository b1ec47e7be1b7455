"""Run what docs/hardware.md has no verdict of, a few model types at a time, and take each chunk's verdicts into it.

    python benchmarks/sweep.py onnxruntime,openvino                   # until nothing is left, or Ctrl-C
    python benchmarks/sweep.py qualcomm --workers=2 --minutes=90 --cache-dir=DIR
    python benchmarks/sweep.py onnxruntime --failed                   # those whose verdict is a failure, again

All of the registry takes longer than a session of work: this goes on where the last one ended, in an order that is nobody's
choice and always the same. A worker is one pytest on one thread; what a chunk has computed is kept when the next one fails. Two
sweeps at once would write over each other: name more hardware, or more workers, in one.
"""

from __future__ import annotations

import argparse
import difflib
import json
import os
import random
import runpy
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from pytest_ipfs_accelerate.builtin import HARDWARE
from pytest_ipfs_accelerate.registry import Registry, load_registry

HARDWARE_PY = Path(__file__).parent.parent / "docs" / "hardware.py"
PAGE = runpy.run_path(str(HARDWARE_PY))


def asked_again(hardware: list[str], registry: Registry, *, failed: bool) -> list[str]:
    """The model types that have, on one of ``hardware``, a case that passes on the CPU and no verdict that counts; with
    ``failed`` those that have a failure there that the ledger does not know."""
    on_cpu = json.loads(PAGE["COVERAGE"]["DATA"].read_text("utf-8"))["verdicts"]
    outcomes: dict[tuple[str, str, str], str] = {
        (result.hardware, result.model, result.task): result.outcome
        for result in PAGE["results"](json.loads(PAGE["DATA"].read_text("utf-8")), registry)
    }
    found = []
    for model in sorted(model for model in on_cpu if model in registry):
        tasks = [task for task, (outcome, *_) in on_cpu[model].items() if outcome == "passed"]
        seen = [outcomes.get((name, model, task)) for name in hardware for task in tasks]
        if any(outcome not in (None, "passed", "known") for outcome in seen) if failed else None in seen:
            found.append(model)
    random.Random(0).shuffle(found)
    return found


def run(models: list[str], options: argparse.Namespace) -> dict[str, Any] | None:
    """The report of a run of some model types; ``None`` where pytest wrote none, which is then printed."""
    with tempfile.TemporaryDirectory() as directory:
        report = Path(directory) / "run.json"
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--ipfs-models={','.join(models)}"]
        command += [f"--ipfs-hardware={options.hardware}", f"--ipfs-json={report}"]
        command += [f"--ipfs-cache-dir={options.cache_dir}"] if options.cache_dir else []
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True, check=False)
        if not report.exists():
            print(f"{' '.join(models)}: no report\n{done.stdout[-2000:]}{done.stderr[-2000:]}", file=sys.stderr)
            return None
        text = report.read_text("utf-8")
        if options.reports:
            (options.reports / f"{options.hardware}-{'-'.join(models)}.json").write_text(text, "utf-8")
        found: dict[str, Any] = json.loads(text)
        return found


def keep(report: dict[str, Any], registry: Registry) -> None:
    """Lay the verdicts of a run over docs/hardware.json, and write the page anew."""
    data = json.loads(PAGE["DATA"].read_text("utf-8"))
    data = PAGE["laid_over"](data, PAGE["taken"](report, registry))
    PAGE["DATA"].write_text(PAGE["dumped"](data), "utf-8")
    PAGE["PAGE"].write_text(PAGE["page"](data), "utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("hardware", help="names, joined by commas")
    parser.add_argument("--failed", action="store_true", help="run again what failed, and not what has no verdict")
    parser.add_argument("--chunk", type=int, default=6, metavar="N", help="model types of a run (default 6)")
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="runs at once (default 1)")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin no run after this long")
    parser.add_argument(
        "--cache-dir", type=Path, help="where exported programs are kept, to run another hardware later"
    )
    parser.add_argument("--reports", type=Path, metavar="DIR", help="keep each run's report, for calibration.py")
    options = parser.parse_args()
    unknown = sorted({*options.hardware.split(",")} - {*HARDWARE})
    if unknown:
        near = difflib.get_close_matches(unknown[0], HARDWARE, 1)
        hint = f", did you mean {near[0]}?" if near else f": one of {', '.join(HARDWARE)}"
        parser.error(f"{unknown[0]} is no hardware{hint}")
    if options.reports:
        options.reports.mkdir(parents=True, exist_ok=True)
    registry = load_registry()
    models = asked_again(options.hardware.split(","), registry, failed=options.failed)
    chunks = [models[start : start + options.chunk] for start in range(0, len(models), options.chunk)]
    print(f"{len(models)} model types in {len(chunks)} runs", flush=True)
    end, lock = time.monotonic() + 60 * options.minutes, threading.Lock()

    def work(chunk: list[str]) -> None:
        if (started := time.monotonic()) > end:
            return
        report = run(chunk, options)
        with lock:
            if report is not None:
                keep(report, registry)
                print(f"{time.monotonic() - started:5.0f} s {report['counts']} {' '.join(chunk)}", flush=True)

    # Not threads that are joined: Python 3.11 takes one whose join is interrupted for ended, and leaves without its run.
    with ThreadPoolExecutor(options.workers) as pool:
        futures = [pool.submit(work, chunk) for chunk in chunks]
        try:
            for future in as_completed(futures):
                future.result()
        except BaseException as error:
            pool.shutdown(wait=False, cancel_futures=True)
            if not isinstance(error, KeyboardInterrupt):
                raise
            print("what runs now is the last", flush=True)


if __name__ == "__main__":
    main()
