"""What a run costs the first time, and what a second one costs when what the first made is kept.

    python benchmarks/second_run.py [arguments of pytest, default --ipfs-models=@strata]

Runs pytest twice in an empty directory with a store of its own. For each hardware and stage: the seconds of both runs and
their ratio; below that the wall-clock time of both.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

HARDWARE = "cpu,onnxruntime,openvino,qualcomm,apple"


def run(arguments: list[str], directory: Path, name: str) -> tuple[float, dict[str, int], Counter[tuple[str, str]]]:
    """Wall-clock seconds, outcomes, and the seconds of each hardware and stage of one run."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--ipfs-json={name}", *arguments]
    started = time.perf_counter()
    # Cases may fail; what is asked here is what they cost.
    subprocess.run(command, cwd=directory, check=False, stdout=subprocess.DEVNULL)
    wall = time.perf_counter() - started
    report = json.loads((directory / name).read_text("utf-8"))
    seconds: Counter[tuple[str, str]] = Counter()
    for verdict in report["verdicts"]:
        for stage, spent in verdict["seconds"].items():
            seconds[verdict["hardware"], stage] += spent
    return wall, report["counts"], seconds


def main() -> None:
    arguments = sys.argv[1:] or ["--ipfs-models=@strata"]
    if not any(argument.startswith("--ipfs-hardware") for argument in arguments):
        arguments.append(f"--ipfs-hardware={HARDWARE}")
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        arguments.append(f"--ipfs-cache-dir={directory / 'store'}")
        walls, counts, seconds = zip(*(run(arguments, directory, f"{n}.json") for n in (1, 2)), strict=True)
        kept = [path.stat().st_size for path in (directory / "store").rglob("*") if path.is_file()]
    print(f"first run {counts[0]}\nsecond    {counts[1]}")
    print(f"kept: {len(kept)} files, {sum(kept) / 2**20:.0f} MiB")
    print(f"{'hardware':12} {'stage':10} {'first, s':>9} {'second, s':>9} {'ratio':>6}")
    for hardware, stage in seconds[0]:
        print(line(hardware, stage, *(found[hardware, stage] for found in seconds)))
    for hardware in dict.fromkeys(key[0] for key in seconds[0]):
        print(line(hardware, "all", *(sum(s for key, s in found.items() if key[0] == hardware) for found in seconds)))
    print(line("all", "all", *(sum(found.values()) for found in seconds)))
    print(line("wall clock", "", *walls))


def line(hardware: str, stage: str, first: float, second: float) -> str:
    ratio = f"{second / first:6.2f}" if first else "     -"
    return f"{hardware:12} {stage:10} {first:9.2f} {second:9.2f} {ratio}"


if __name__ == "__main__":
    main()
