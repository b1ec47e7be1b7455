"""Write docs/coverage.md: every model type × task, and its verdict on the CPU.

    pytest -n 2 --ipfs-all --ipfs-hardware=cpu --ipfs-json=run.json
    python docs/coverage.py run.json        # takes the verdicts into docs/coverage.json, and writes the page from it
    python docs/coverage.py --check         # exit 1 unless the page is that of the JSON, and the JSON that of the registry

A digest of each model type's recipes is kept beside its verdicts: where a row has changed since its run, the check names it. A
run of these model types alone is enough then: its verdicts take the place of theirs. The totals count cases that ran and
asserted: a case that is unavailable is in no total but its own.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pytest_ipfs_accelerate.matrix import base_task
from pytest_ipfs_accelerate.registry import CATEGORIES, Registry, load_registry

HERE = Path(__file__).parent
DATA, PAGE = HERE / "coverage.json", HERE / "coverage.md"
RAN = ("passed", "known", "failed", "crashed", "timed-out", "fixed")


def digest(registry: Registry, model: str) -> str:
    """What the verdicts of a model type hold for: the first digits of the SHA-256 of its recipes."""
    recipes = {task: asdict(registry.recipe(model, task)) for task in registry.row(model).tasks}
    for recipe in recipes.values():
        del recipe["checkpoint"]  # a row names none: it is what a user gives in the place of the tiny one
    return hashlib.sha256(json.dumps(recipes, sort_keys=True, default=str).encode()).hexdigest()[:12]


def taken(report: dict[str, Any]) -> dict[str, Any]:
    """What the page needs of the report of a run: the outcome of each case on the CPU, and why where it is not a pass."""
    registry = load_registry()
    verdicts: dict[str, dict[str, Any]] = {}
    for verdict in report["verdicts"]:
        if verdict["hardware"] == "cpu":
            reason = [] if verdict["outcome"] == "passed" else [verdict["reason"].splitlines()[0]]
            tensors = ["tensors only"] if verdict["evidence"].get("inputs", "").startswith("tensors only") else []
            verdicts.setdefault(verdict["model"], {})[verdict["task"]] = [verdict["outcome"], *reason, *tensors]
    versions = {name: report["versions"][name] for name in ("torch", "transformers") if name in report["versions"]}
    for model, tasks in verdicts.items():
        if missing := registry.row(model).tasks.keys() - tasks:
            raise SystemExit(f"the run left out {model}::{sorted(missing)[0]}: run every task of a model type")
    return {
        "versions": versions,
        "recipes": {model: digest(registry, model) for model in verdicts},
        "verdicts": verdicts,
    }


def laid_over(kept: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """The verdicts of a run in the place of those of the same model types, without those that the registry no longer has."""
    registry = load_registry()
    found = {"versions": new["versions"]}
    for part in ("recipes", "verdicts"):
        both = {**kept.get(part, {}), **new[part]}
        found[part] = {model: both[model] for model in sorted(both) if model in registry}
    if kept.get("versions", new["versions"]) != new["versions"] and len(new["verdicts"]) < len(found["verdicts"]):
        raise SystemExit(
            f"the other verdicts are from {kept['versions']}, this run is from {new['versions']}: run them all"
        )
    return found


def page(data: dict[str, Any]) -> str:
    """The page, in Markdown."""
    registry = load_registry()
    rows = [
        (registry.category(model), model, task, entry)
        for model, tasks in data["verdicts"].items()
        for task, entry in tasks.items()
        if model in registry
    ]
    versions = ", ".join(f"{name} {number}" for name, number in data["versions"].items())
    lines = [
        "# What runs, and what does not",
        "",
        f"Every model type × task on the CPU, as it ran with {versions}. Made by `docs/coverage.py`.",
        "",
    ]
    lines += ["A case that ran was built, run and checked; `unavailable` did not run, and is in no other column.", ""]
    lines += _totals("category", CATEGORIES, [(category, entry) for category, _, _, entry in rows])
    tasks = sorted({base_task(task) for _, _, task, _ in rows})
    lines += _totals("task", tasks, [(base_task(task), entry) for _, _, task, entry in rows])
    for category in CATEGORIES:
        lines += ["", f"## {category}", "", "| model type | passed | not passed |", "| --- | --- | --- |"]
        for model in dict.fromkeys(row[1] for row in rows if row[0] == category):
            passed = [task for _, name, task, entry in rows if name == model and entry[0] == "passed"]
            others = [
                f"{task}: {entry[0]}, {_cell(entry[1])}"
                for _, name, task, entry in rows
                if name == model and entry[0] != "passed"
            ]
            lines.append(f"| {model} | {', '.join(passed) or '-'} | {'<br>'.join(others) or ''} |")
    return "\n".join(lines) + "\n"


def _totals(head: str, names: Any, rows: list[tuple[str, list[str]]]) -> list[str]:
    lines = [
        "",
        f"| {head} | ran | passed | known failures | other failures | unavailable |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name in [*names, "all"]:
        found = Counter(entry[0] for key, entry in rows if name in (key, "all"))
        ran = sum(found[outcome] for outcome in RAN)
        wrong = ran - found["passed"] - found["known"]
        lines.append(f"| {name} | {ran} | {found['passed']} | {found['known']} | {wrong} | {found['unavailable']} |")
    return lines


def _cell(text: str) -> str:
    short = text if len(text) <= 120 else text[:117] + "…"
    return short.replace("|", "\\|").replace("<", "&lt;")


def faults(data: dict[str, Any]) -> list[str]:
    """Why the page is not up to date."""
    registry = load_registry()
    cases = {(model, task) for model in registry for task in registry.row(model).tasks}
    seen = {(model, task) for model, tasks in data["verdicts"].items() for task in tasks}
    found = [f"no verdict: {model}::{task}" for model, task in sorted(cases - seen)]
    found += [f"no such case: {model}::{task}" for model, task in sorted(seen - cases)]
    stale = [model for model in registry if data.get("recipes", {}).get(model) != digest(registry, model)]
    found += [f"{model}: its recipes have changed since the run; run it again" for model in stale]
    if not PAGE.exists() or PAGE.read_text("utf-8") != page(data):
        found.append(f"{PAGE.name} is not what {DATA.name} gives")
    return found


def dumped(data: dict[str, Any]) -> str:
    """The JSON with a line for each model type, so that a difference can be read."""
    parts = [f'  "versions": {json.dumps(data["versions"])}']
    for part in ("recipes", "verdicts"):
        lines = [
            f"    {json.dumps(model)}: {json.dumps(value, ensure_ascii=False)}" for model, value in data[part].items()
        ]
        parts.append(f'  "{part}": {{\n' + ",\n".join(lines) + "\n  }")
    return "{\n" + ",\n".join(parts) + "\n}\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("report", type=Path, nargs="?", help="the file of --ipfs-json")
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 unless the page is up to date")
    options = parser.parse_args()
    if options.check:
        found = faults(json.loads(DATA.read_text("utf-8")))
        print("\n".join(found[:20]) or f"{PAGE.name} is up to date")
        return 1 if found else 0
    if options.report is None:
        parser.error("which report? give the file of --ipfs-json, or --check")
    kept = json.loads(DATA.read_text("utf-8")) if DATA.exists() else {}
    data = laid_over(kept, taken(json.loads(options.report.read_text("utf-8"))))
    DATA.write_text(dumped(data), "utf-8")
    PAGE.write_text(page(data), "utf-8")
    print(f"wrote {DATA.name} and {PAGE.name}: {sum(map(len, data['verdicts'].values()))} cases")
    return 0


if __name__ == "__main__":
    sys.exit(main())
