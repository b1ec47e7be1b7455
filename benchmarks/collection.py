"""What collecting 15,000 cases costs, beside the same number of plain parametrized tests with the same marks.

    python benchmarks/collection.py [--cases 15000] [--rounds 5]

Both are whole processes of ``pytest --collect-only -qq``, run in turn; the time of an empty collection is taken off both, so
that the ratio is of collection alone. Prints the medians of CPU seconds and their ratio (aim: at most 0.5).
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

TASKS = ("fill-mask", "feature-extraction", "text-classification", "token-classification", "question-answering")
HARDWARE = ("cpu", "cuda", "onnxruntime", "openvino", "apple", "qualcomm")

PLAIN = """
import pytest

CASES = [(f"model_{{index}}", task, hardware) for index in range({models}) for task in {tasks} for hardware in {hardware}]

def parameter(model, task, hardware):
    names = ("ipfs", hardware, "language", task.replace("-", "_"))
    marks = [*(getattr(pytest.mark, name) for name in names),
             pytest.mark.ipfs_case(model=model, task=task, hardware=hardware)]
    return pytest.param(model, task, hardware, marks=marks, id=f"{{model}}-{{task}}-{{hardware}}")

@pytest.mark.parametrize(("model", "task", "hardware"), [parameter(*case) for case in CASES])
def test_pipeline(model, task, hardware):
    pass
"""


def registry(models: int) -> dict[str, object]:
    """A registry of so many synthetic model types with five tasks each."""
    row = {
        "category": "language",
        "config_class": "BertConfig",
        "config": {},
        "processor": "bert-wordpiece",
        "tasks": {task: {"class": "BertModel"} for task in TASKS},
    }
    return {"models": {f"model_{index}": row for index in range(models)}}


def cpu_seconds(directory: Path, *arguments: str) -> float:
    """User and system seconds of one pytest process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "pytest", "--collect-only", "-qq", "-p", "no:cacheprovider", *arguments]
    done = subprocess.run(
        command, cwd=directory, capture_output=True, text=True, env={**os.environ, "PYTEST_ADDOPTS": ""}
    )
    if done.returncode not in (0, 5):
        raise SystemExit(done.stdout + done.stderr)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=15_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    models = options.cases // (len(TASKS) * len(HARDWARE))
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        (directory / "pytest.ini").write_text("[pytest]\n")
        (directory / "registry.json").write_text(json.dumps(registry(models)))
        (directory / "test_plain.py").write_text(PLAIN.format(models=models, tasks=TASKS, hardware=HARDWARE))
        (directory / "test_empty.py").write_text("")
        ours = ("--ipfs-registry=registry.json", "--ipfs-models=model_*")
        commands = {"empty": ("test_empty.py",), "plain": ("test_plain.py",), "ours": ours}
        found: dict[str, list[float]] = {key: [] for key in commands}
        for _ in range(options.rounds):
            for key, arguments in commands.items():
                found[key].append(cpu_seconds(directory, *arguments))
    empty = statistics.median(found["empty"])
    net = {key: [seconds - empty for seconds in found[key]] for key in ("plain", "ours")}
    for key, seconds in net.items():
        print(f"{key:6} {statistics.median(seconds):.2f} s (from {min(seconds):.2f} to {max(seconds):.2f})")
    ratios = [ours / plain for ours, plain in zip(net["ours"], net["plain"], strict=True)]
    cases = models * len(TASKS) * len(HARDWARE)
    print(f"{cases} cases; ours / plain, median of {options.rounds} pairs: {statistics.median(ratios):.2f}")


if __name__ == "__main__":
    main()
