"""How much of a run is work on models, and how much is ours.

    python benchmarks/overhead.py [arguments of pytest, default --ipfs-models=bert,vit,whisper,llava]

Runs pytest once in an empty directory. Work on models is what the stages of the verdicts took, and the import of torch and
transformers in the host, measured alone beforehand. The rest is ours: collection, the host and its wire, reports.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

IMPORTS = "import pytest_ipfs_accelerate.runner"


def timed(command: list[str], directory: str) -> float:
    """Wall-clock seconds of a command."""
    started = time.perf_counter()
    subprocess.run(command, cwd=directory, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def main() -> None:
    arguments = sys.argv[1:] or ["--ipfs-models=bert,vit,whisper,llava"]
    with tempfile.TemporaryDirectory() as directory:
        bare = timed([sys.executable, "-c", "pass"], directory)
        imports = timed([sys.executable, "-c", IMPORTS], directory) - bare
        command = [sys.executable, "-m", "pytest", "-q", "--ipfs-json=out.json", *arguments]
        wall = timed(command, directory)
        report = json.loads((Path(directory) / "out.json").read_text())
    stages: Counter[str] = Counter()
    for verdict in report["verdicts"]:
        stages.update(verdict["seconds"])
    models = sum(stages.values()) + imports
    print(f"{report['counts']}")
    for stage, seconds in [("import", imports), *stages.most_common()]:
        print(f"  {stage:10} {seconds:8.2f} s")
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    print(
        f"wall {wall:.1f} s, of it on models {models:.1f} s, ours {wall - models:.1f} s ({(wall - models) / wall:.1%})"
    )
    print(f"peak memory of the largest process {peak:.2f} GiB")


if __name__ == "__main__":
    main()
