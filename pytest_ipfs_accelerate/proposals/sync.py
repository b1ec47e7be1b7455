"""The registry held against the installed transformers: what is new, gone or changed, and rows for what is new."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import torch

from ..matrix import base_task
from ..specs import Recipe
from ..verdict import Outcome, Stage, Verdict
from .heads import heads
from .propose import unproposed
from .rows import row_of
from .trial import missing_library, propose

Progress = Callable[[str, int, int], None]
"""Told of each model type that is done, how many are, and how many there are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """By model type, tasks: ``new`` are heads without a row, ``gone`` rows without a head, ``changed`` heads of another
    class."""

    new: Mapping[str, list[str]]
    gone: Mapping[str, list[str]]
    changed: Mapping[str, list[str]]

    def __bool__(self) -> bool:
        return bool(self.new or self.gone or self.changed)

    def lines(self) -> Iterator[str]:
        """The difference for a person, one model type a line."""
        for word, found in (("new", self.new), ("gone", self.gone), ("changed", self.changed)):
            for model, tasks in found.items():
                yield f"{word}: {model}: {', '.join(tasks)}"


def difference(classes: Mapping[str, Mapping[str, str]]) -> Difference:
    """How the registry, given as model type → task → class, differs from the installed transformers."""
    installed = {model: {head.key: head.model_class for head in found} for model, found in heads().items()}

    def only(one: Mapping[str, Mapping[str, str]], other: Mapping[str, Mapping[str, str]]) -> dict[str, list[str]]:
        found = {model: [task for task in tasks if task not in other.get(model, {})] for model, tasks in one.items()}
        return {model: tasks for model, tasks in found.items() if tasks}

    changed = {
        model: [task for task, name in tasks.items() if installed.get(model, {}).get(task, name) != name]
        for model, tasks in classes.items()
    }
    return Difference(
        new=only(installed, classes),
        # A row may hold tasks that no auto mapping names, for a class that it does know.
        gone={
            model: tasks
            for model, tasks in only(classes, installed).items()
            if not set(classes[model].values()) <= set(installed.get(model, {}).values())
        },
        changed={model: tasks for model, tasks in changed.items() if tasks},
    )


@dataclass(slots=True)
class Found:
    """What was proposed for one model type: its recipes by task, and how the trial of each ended."""

    model: str
    recipes: dict[str, Recipe] = field(default_factory=dict)
    verdicts: dict[str, Verdict] = field(default_factory=dict)

    @property
    def passed(self) -> list[str]:
        return [task for task, verdict in self.verdicts.items() if verdict.outcome is Outcome.PASSED]


def propose_model(model: str, tasks: Iterable[str] | None = None) -> Found:
    """Recipes for the heads of a model type, all of them or those of ``tasks``."""
    torch.set_num_threads(1)
    found = Found(model)
    wanted = None if tasks is None else set(tasks)
    for head in heads()[model]:
        if wanted is not None and head.key not in wanted:
            continue
        proposal = propose(head)
        found.verdicts[head.key] = proposal.verdict
        library = missing_library(proposal.verdict)
        # A head that nothing tiny could be proposed for has a row all the same: its case says why it does not run.
        recipe = proposal.recipe
        if recipe is None or (proposal.verdict.stage is Stage.BUILD and proposal.verdict.outcome is Outcome.FAILED):
            recipe = unproposed(head, proposal.verdict.reason)
        found.recipes[head.key] = replace(recipe, needs=(library,) if library else ())
    return found


CHUNK = 16
"""Model types that one process tries: enough to make up for its imports."""


def propose_models(wanted: Mapping[str, list[str] | None], processes: int, progress: Progress) -> dict[str, Found]:
    """The same for many model types, in processes of their own: a model type may crash the one that tries it, and is then tried
    alone."""
    done: dict[str, Found] = {}
    names = sorted(wanted)
    chunks = [names[at : at + CHUNK] for at in range(0, len(names), CHUNK)]
    with ThreadPoolExecutor(processes) as pool:
        running = {pool.submit(_in_process, {name: wanted[name] for name in chunk}) for chunk in chunks}
        while running:
            finished, running = wait(running, return_when=FIRST_COMPLETED)
            for future in finished:
                tried, found = future.result()
                if not found and len(tried) > 1:
                    running |= {pool.submit(_in_process, {name: tried[name]}) for name in tried}
                    continue
                for name in tried:
                    done[name] = found.get(name, Found(name))
                    progress(name, len(done), len(wanted))
    return done


def _in_process(wanted: dict[str, list[str] | None]) -> tuple[dict[str, list[str] | None], dict[str, Found]]:
    """Propose in a process of its own; nothing is found where that died."""
    with TemporaryDirectory() as folder:
        answer = Path(folder, "answer.json")
        command = [sys.executable, "-m", __name__, json.dumps(wanted), str(answer)]
        subprocess.run(command, check=False, stdin=subprocess.DEVNULL, capture_output=True)
        found = msgspec.json.decode(answer.read_bytes(), type=dict[str, Found]) if answer.exists() else {}
    return wanted, found


def rows_of(found: Mapping[str, Found], processors: dict[str, Any]) -> dict[str, Any]:
    """Rows of the registry for what was proposed; the processors that they use are added to ``processors``."""
    return {model: row_of(each.recipes, processors) for model, each in sorted(found.items()) if each.recipes}


def strata(rows: Mapping[str, Any]) -> list[str]:
    """A small sample of model types in which every pair of category and task occurs that has a recipe and needs no further
    library: greedily the type that adds most, the first of the alphabet among equals."""
    pairs = {
        model: {(row["category"], base_task(task)) for task, head in row["tasks"].items() if _runs(head)}
        for model, row in rows.items()
        if not row.get("needs")
    }
    missing = set().union(*pairs.values())
    chosen: list[str] = []
    while missing:
        best = max(sorted(pairs), key=lambda model: len(pairs[model] & missing))
        chosen.append(best)
        missing -= pairs[best]
    return sorted(chosen)


def _runs(head: Mapping[str, Any]) -> bool:
    return not head.get("needs") and head.get("inputs", {}).get("tensors") != {}


if __name__ == "__main__":
    chunk = {model: propose_model(model, tasks) for model, tasks in json.loads(sys.argv[1]).items()}
    Path(sys.argv[2]).write_bytes(msgspec.json.encode(chunk, enc_hook=str))
