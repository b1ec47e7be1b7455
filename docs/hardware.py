"""Write docs/hardware.md: of the cases that pass on the CPU, which pass on the other hardware, by category, and why the rest do
not.

    pytest -n 2 --ipfs-all --ipfs-hardware=onnxruntime,openvino --ipfs-json=run.json
    python docs/hardware.py run.json …      # takes the verdicts into docs/hardware.json, and writes the page from it
    python docs/hardware.py                 # writes the page anew
    python docs/hardware.py --check         # exit 1 unless the page is that of the JSON

``benchmarks/sweep.py`` runs what the page has no verdict of. A run may hold any part of the matrix: its verdicts take the place
of those of the same cases. A verdict counts for as long as the row that it ran from is the registry's, a known failure for as
long as its reason is in the ledger, and a share is always of the cases that ran: the page says how many did not.
"""

from __future__ import annotations

import argparse
import json
import runpy
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from pytest_ipfs_accelerate.ledger import load_ledger
from pytest_ipfs_accelerate.matrix import Case
from pytest_ipfs_accelerate.registry import CATEGORIES, Registry, load_registry

HERE = Path(__file__).parent
DATA, PAGE = HERE / "hardware.json", HERE / "hardware.md"
COVERAGE = runpy.run_path(str(HERE / "coverage.py"))
RAN: tuple[str, ...] = COVERAGE["RAN"]


class Result(NamedTuple):
    """A verdict as the page needs it."""

    hardware: str
    category: str
    model: str
    task: str
    outcome: str
    stage: str
    reason: str


def taken(report: dict[str, Any], registry: Registry) -> dict[str, Any]:
    """What the page needs of the report of a run, by hardware."""
    found: dict[str, Any] = {}
    for verdict in report["verdicts"]:
        model, name = verdict["model"], verdict["hardware"]
        if name == "cpu" or verdict["outcome"] == "unavailable" or verdict["task"] not in registry.row(model).tasks:
            continue
        part = found.setdefault(name, {"recipes": {}, "verdicts": {}})
        part["versions"] = verdict["versions"] or part.get("versions", {})
        if verdict["implementation"]:
            part["implementation"], part["precision"] = verdict["implementation"], verdict["precision"]
        part["recipes"][model] = COVERAGE["digest"](registry, model)
        why = [] if verdict["outcome"] == "passed" else [verdict["stage"], _line(verdict["reason"])]
        part["verdicts"].setdefault(model, {})[verdict["task"]] = [verdict["outcome"], *why]
    return found


def laid_over(kept: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """The verdicts of a run in the place of those of the same cases; those from another recipe go."""
    found = dict(kept)
    for name, part in new.items():
        old = kept.get(name, {"recipes": {}, "verdicts": {}})
        verdicts = {**old["verdicts"]}
        for model, tasks in part["verdicts"].items():
            same = old["recipes"].get(model) == part["recipes"][model]
            verdicts[model] = {**(verdicts.get(model, {}) if same else {}), **tasks}
        found[name] = {
            **old,
            **part,
            "recipes": dict(sorted({**old["recipes"], **part["recipes"]}.items())),
            "verdicts": dict(sorted(verdicts.items())),
        }
    return dict(sorted(found.items()))


def results(data: dict[str, Any], registry: Registry) -> Iterator[Result]:
    """The verdicts that count, of cases that pass on the CPU."""
    on_cpu = json.loads(COVERAGE["DATA"].read_text("utf-8"))["verdicts"]
    rows = [(row, _line(row.entry.reason)) for row in load_ledger().rows]
    for name, part in data.items():
        for model, tasks in part["verdicts"].items():
            if model not in registry or part["recipes"][model] != COVERAGE["digest"](registry, model):
                continue
            for task, (outcome, *why) in tasks.items():
                if on_cpu.get(model, {}).get(task, [""])[0] != "passed":
                    continue
                stage, reason = why or ("", "")
                # A row of the case on the CPU holds on every hardware.
                cases = [Case(model, task, hardware) for hardware in (name, "cpu")]
                if outcome != "known" or any(reason == known and any(map(row.covers, cases)) for row, known in rows):
                    yield Result(name, registry.category(model), model, task, outcome, stage, reason)


def page(data: dict[str, Any]) -> str:
    """The page, in Markdown."""
    registry = load_registry()
    found = list(results(data, registry))
    on_cpu = json.loads(COVERAGE["DATA"].read_text("utf-8"))["verdicts"]
    cases = [
        registry.category(model)
        for model, tasks in on_cpu.items()
        if model in registry
        for entry in tasks.values()
        if entry[0] == "passed"
    ]
    lines = [
        "# What passes on which hardware",
        "",
        f"Of the {len(cases)} cases (model type × task) that [pass on the CPU](coverage.md). Made by `docs/hardware.py`.",
        "A share is of the cases that ran on that hardware.",
        "",
        "| hardware | precision | implementation | ran | passed | share | known failures | other failures |",
        "| --- | --- | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, part in data.items():
        counts = Counter(result.outcome for result in found if result.hardware == name)
        ran, known = sum(counts[outcome] for outcome in RAN), counts["known"]
        lines.append(
            f"| {name} | {part.get('precision', '')} | {part.get('implementation', '')} | {ran} | {counts['passed']} | "
            f"{_share(counts['passed'], ran)} | {known} | {ran - known - counts['passed']} |"
        )
    lines += [
        "",
        "Passed of run, by category:",
        "",
        f"| category | {' | '.join(data)} |",
        "| --- |" + " ---: |" * len(data),
    ]
    for category in [*CATEGORIES, "all"]:
        cells = [_cell(r for r in found if r.hardware == name and category in (r.category, "all")) for name in data]
        lines.append(f"| {category} | {' | '.join(cells)} |")
    for name, part in data.items():
        versions = ", ".join(f"{library} {number}" for library, number in part["versions"].items())
        lines += ["", f"## {name}", "", f"With {versions}.", ""]
        failed = [result for result in found if result.hardware == name and result.outcome != "passed"]
        lines += (
            ["| case | outcome | stage | reason |", "| --- | --- | --- | --- |"]
            if failed
            else ["Everything that ran passed."]
        )
        lines += [f"| {r.model}::{r.task} | {r.outcome} | {r.stage} | {COVERAGE['_cell'](r.reason)} |" for r in failed]
    return "\n".join(lines) + "\n"


def _cell(some: Iterable[Result]) -> str:
    counts = Counter(result.outcome for result in some)
    ran = sum(counts[outcome] for outcome in RAN)
    return f"{counts['passed']}/{ran} ({_share(counts['passed'], ran)})" if ran else "-"


def _share(passed: int, ran: int) -> str:
    return f"{passed / ran:.1%}" if ran else "-"


def _line(text: str) -> str:
    return next(iter(text.strip().splitlines()), "")


def dumped(data: dict[str, Any]) -> str:
    """The JSON with a line for each model type, so that a difference can be read."""
    parts = []
    for name, part in data.items():
        heads = [
            f"    {json.dumps(key)}: {json.dumps(part[key])}"
            for key in sorted(part)
            if key not in ("recipes", "verdicts")
        ]
        for key in ("recipes", "verdicts"):
            rows = [
                f"      {json.dumps(model)}: {json.dumps(value, ensure_ascii=False)}"
                for model, value in part[key].items()
            ]
            heads.append(f"    {json.dumps(key)}: {{\n" + ",\n".join(rows) + "\n    }")
        parts.append(f"  {json.dumps(name)}: {{\n" + ",\n".join(heads) + "\n  }")
    return "{\n" + ",\n".join(parts) + "\n}\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("reports", type=Path, nargs="*", help="files of --ipfs-json")
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 unless the page is up to date")
    options = parser.parse_args()
    data: dict[str, Any] = json.loads(DATA.read_text("utf-8")) if DATA.exists() else {}
    if options.check:
        current = PAGE.exists() and PAGE.read_text("utf-8") == page(data)
        print(f"{PAGE.name} is {'up to date' if current else f'not what {DATA.name} gives: run docs/hardware.py'}")
        return 0 if current else 1
    registry = load_registry()
    for path in options.reports:
        data = laid_over(data, taken(json.loads(path.read_text("utf-8")), registry))
    DATA.write_text(dumped(data), "utf-8")
    PAGE.write_text(page(data), "utf-8")
    print(f"wrote {DATA.name} and {PAGE.name}: {len(list(results(data, registry)))} cases")
    return 0


if __name__ == "__main__":
    sys.exit(main())
