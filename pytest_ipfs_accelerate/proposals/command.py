"""``python -m pytest_ipfs_accelerate.registry``: keeps the registry."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from ..matrix import base_task
from ..registry import load_registry, read_json, shipped_registry
from ..registry.rows import expand, merge
from ..registry.writing import dump, share
from ..settings import share_of_cores
from ..words import nearest, plural

SYNC = (
    "propose rows for what the installed transformers has and the registry has not; prints what is new, gone or changed"
)
CHECK = "exit 1 unless the registry holds every head of the installed transformers, and every row is usable"
SHOW = "the row of a model type, its shapes in their places; one that has no row is proposed"
MAP = "the pipeline map, model types to tasks, and its reverse, as JSON"


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(
        prog="python -m pytest_ipfs_accelerate.registry", description="Keep model_registry.json."
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    sync = commands.add_parser("sync", help=SYNC, description=SYNC)
    sync.add_argument("--write", action="store_true", help="write the registry; without it nothing is changed")
    sync.add_argument(
        "--again", metavar="GLOB,…", default="", help="propose these model types again, though they have rows"
    )
    sync.add_argument(
        "--processes", type=int, default=share_of_cores(1), help="how many to try at a time (default: %(default)s)"
    )
    sync.add_argument("--registry", type=Path, default=shipped_registry(), help="the file (default: the shipped one)")
    check = commands.add_parser("check", help=CHECK, description=CHECK)
    check.add_argument("--registry", type=Path, default=shipped_registry(), help="the file (default: the shipped one)")
    show = commands.add_parser("show", help=SHOW, description=SHOW)
    show.add_argument("model", metavar="MODEL")
    mapping = commands.add_parser("map", help=MAP, description=MAP)
    mapping.add_argument(
        "--out", type=Path, metavar="DIR", help="write model_to_tasks.json and task_to_models.json there"
    )
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    warnings.filterwarnings("ignore", module="transformers")
    options = parser().parse_args(arguments)
    try:
        match options.command:
            case "sync":
                return _sync(options)
            case "check":
                return _check(options.registry)
            case "show":
                return _show(options.model)
            case _:
                return _map(options.out)
    except pytest.UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _classes(rows: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    return {model: {task: head["class"] for task, head in row["tasks"].items()} for model, row in rows.items()}


def _sync(options: argparse.Namespace) -> int:
    from .sync import difference, propose_models, rows_of, strata

    file = read_json(options.registry, "--registry") if options.registry.exists() else {"models": {}}
    rows = {model: expand(row, file.get("shapes", {}), model) for model, row in file["models"].items()}
    found = difference(_classes(rows))
    for line in found.lines():
        print(line)
    wanted: dict[str, list[str] | None] = {model: tasks for model, tasks in found.new.items() if model in rows}
    wanted |= {model: None for model in found.new if model not in rows}
    globs = [word for word in options.again.split(",") if word]
    for glob in globs:
        matching = [model for model in rows if fnmatchcase(model, glob)]
        if not matching:
            raise pytest.UsageError(f"--again: no model type {glob!r}{nearest(glob, rows)}")
        wanted |= dict.fromkeys(matching)
    if not wanted and not found:
        print("nothing is new, gone or changed")
        return 0
    processors = dict(file.get("processors", {}))
    proposed = propose_models(wanted, options.processes, _progress)
    for model, row in rows_of(proposed, processors).items():
        rows[model] = (
            row if model not in rows or (model in wanted and wanted[model] is None) else _joined(rows[model], row)
        )
    for model, tasks in found.gone.items():
        rows[model]["tasks"] = {task: head for task, head in rows[model]["tasks"].items() if task not in tasks}
    rows = {model: row for model, row in sorted(rows.items()) if row["tasks"]}
    tried = [verdict for each in proposed.values() for verdict in each.verdicts.values()]
    for verdict in tried:
        if not verdict.ok:
            print(f"fails: {verdict.model}::{verdict.task}: {verdict.stage}: {verdict.reason}")
    print(f"{plural(len(tried), 'row')} proposed, {sum(verdict.ok for verdict in tried)} of them pass on the CPU")
    if options.write:
        shared, shapes = share(rows, file.get("shapes", {}))
        used = {row.get("processor") for row in rows.values()}
        used |= {head.get("processor") for row in rows.values() for head in row["tasks"].values()}
        sets = {**file.get("sets", {}), "strata": strata(rows)}
        content = {
            "schema": file.get("schema", 1),
            "transformers": version("transformers"),
            "sets": sets,
            "processors": {name: processors[name] for name in sorted(processors) if name in used},
            "shapes": shapes,
            "models": shared,
        }
        _write(options.registry, dump(content) + "\n")
        print(f"wrote {options.registry}")
    elif wanted:
        print("nothing written: --write does")
    return 0


def _joined(row: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """A row with the heads of another beside its own, each with the whole of its config."""
    heads = dict(row["tasks"])
    for task, head in new["tasks"].items():
        config = merge(new.get("config", {}), head.get("config", {}))
        kept = {key: head[key] for key in head if key != "config"}
        # With a class of its own its config is whole, and not laid over that of the row.
        kept["config_class"] = head.get("config_class", new["config_class"])
        heads[task] = {**kept, "config": config, "processor": head.get("processor", new.get("processor", ""))}
        heads[task]["seed"] = head.get("seed", new.get("seed", 0))
    return {**row, "tasks": heads}


def _progress(model: str, done: int, count: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{done}/{count} {model:<40}", end="" if done < count else "\n", file=sys.stderr, flush=True)
    elif done % 20 == 0 or done == count:
        print(f"{done}/{count}", file=sys.stderr, flush=True)


def _write(path: Path, text: str) -> None:
    """Whole or not at all."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(handle, "w", encoding="utf-8") as stream:
        stream.write(text)
    os.chmod(temporary, 0o644)
    os.replace(temporary, path)


def _check(path: Path) -> int:
    from ..models.checkpoint import build_config, model_class
    from ..models.processors import build_processor
    from .sync import difference

    registry = load_registry(None if path == shipped_registry() else path)
    installed = version("transformers")
    faults = []
    if registry.transformers != installed:
        faults.append(f"pinned to transformers {registry.transformers}, {installed} is installed")
    classes = {
        model: {task: registry.recipe(model, task).model_class for task in registry.row(model).tasks}
        for model in registry
    }
    faults += list(difference(classes).lines())
    built: set[str] = set()
    for model in registry:
        for task in registry.row(model).tasks:
            recipe = registry.recipe(model, task)
            if recipe.needs or (recipe.processor is None and not recipe.inputs["tensors"]):
                continue  # nothing here could build it; its case says why
            try:
                model_class(recipe)
                build_config(recipe.config_class, recipe.config)
                if recipe.processor and (key := json.dumps(recipe.processor)) not in built:
                    build_processor(recipe.processor)
                    built.add(key)
            except Exception as error:
                faults.append(f"{model}::{task}: {type(error).__name__}: {error}")
    for fault in faults:
        print(fault)
    count = sum(map(len, classes.values()))
    print(f"{plural(count, 'row')} of {plural(len(classes), 'model type')}: {plural(len(faults), 'fault')}")
    return 1 if faults else 0


def _show(model: str) -> int:
    registry = load_registry()
    if model in registry:
        row = registry.raw(model)
    else:
        from .heads import heads
        from .sync import propose_model, rows_of

        if model not in heads():
            raise pytest.UsageError(f"no model type {model!r}{nearest(model, [*registry, *heads()])}")
        print(f"# {model} has no row: proposed from transformers {version('transformers')}", file=sys.stderr)
        row = rows_of({model: propose_model(model)}, {})[model]
    print(dump({model: row}))
    return 0


def _map(folder: Path | None) -> int:
    registry = load_registry()
    forward = {model: list(dict.fromkeys(map(base_task, registry.tasks(model)))) for model in registry}
    reverse: dict[str, list[str]] = {}
    for model, tasks in forward.items():
        for task in tasks:
            reverse.setdefault(task, []).append(model)
    reverse = dict(sorted(reverse.items()))
    if folder is None:
        print(dump({"model_to_tasks": forward, "task_to_models": reverse}))
        return 0
    if not folder.is_dir():
        raise pytest.UsageError(f"--out: there is no directory {folder}")
    for name, content in (("model_to_tasks", forward), ("task_to_models", reverse)):
        _write(folder / f"{name}.json", dump(content) + "\n")
        print(f"wrote {folder / name}.json")
    return 0
