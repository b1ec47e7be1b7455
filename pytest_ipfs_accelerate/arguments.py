"""The positional arguments of pytest: which of them name the matrix, and whether it runs at all.

* ``pytest ipfs/bert::fill-mask-cpu`` names cases; no option is needed.
* A selection typed on the command line with no path runs the matrix alone, in any directory.
* A path wins: the matrix runs beside it only where an argument names it.
* A selection from the ini file, ``addopts`` or the environment joins the project's ordinary run.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from .matrix import ROOT, Case, UnknownName, choose
from .settings import is_configured
from .words import nearest

if TYPE_CHECKING:
    from .plan import Plan

ASKED = pytest.StashKey[bool]()


def asked_for(config: pytest.Config) -> bool:
    """Whether this run has anything to do with us: a setting is there, or an argument names the matrix. Asked of every run,
    so it reads no file and imports nothing."""
    if ASKED not in config.stash:
        config.stash[ASKED] = is_configured(config) or any(is_virtual(config, argument) for argument in config.args)
    return config.stash[ASKED]


def take_arguments(config: pytest.Config) -> None:
    """Take the arguments that name the matrix out of ``config.args`` and put the cases to collect on the stash.

    Done at configuration: ``--fixtures-per-test`` collects without the hook of collection.

    Raises:
        pytest.UsageError: an argument names a case that does not exist, or the selection is not usable.
    """
    from .plan import SUITE_CASES, plan_of

    ours = [argument for argument in config.args if is_virtual(config, argument)]
    chosen = config.args_source is config.ArgsSource.ARGS
    plan = plan_of(config)
    if plan.skillset and not hasattr(config, "workerinput"):
        for warning in plan.skillset.warnings:
            config.issue_config_time_warning(pytest.PytestWarning(f"ipfs: {warning}"), stacklevel=2)
    if ours:
        config.stash[SUITE_CASES] = _named(config, plan, ours)
    elif plan.settings.selects and not chosen:
        config.stash[SUITE_CASES] = plan.selected
    if ours or (SUITE_CASES in config.stash and plan.settings.on_command_line):
        config.args[:] = [argument for argument in config.args if chosen and argument not in ours]


def virtual_path(config: pytest.Config, argument: str) -> Path | None:
    """What an argument names below the virtual directory ``ipfs``, relative to it; ``None`` for a real path."""
    head = argument.partition("::")[0]
    base = config.rootpath / ROOT
    path = Path(os.path.normpath(config.invocation_params.dir / head))
    if not path.is_relative_to(base) and (head == ROOT or head.startswith(f"{ROOT}/")):
        path = config.rootpath / head  # "ipfs/…" as it is printed, typed in a subdirectory
    return path.relative_to(base) if path.is_relative_to(base) and not path.exists() else None


def is_virtual(config: pytest.Config, argument: str) -> bool:
    """Whether an argument names the matrix or a part of it. A real file or directory of that name comes first."""
    return virtual_path(config, argument) is not None


def _named(config: pytest.Config, plan: Plan, arguments: list[str]) -> dict[str, list[Case]]:
    """The cases that the arguments name, by model type; the whole selection for a bare ``ipfs``."""
    found: dict[str, dict[Case, None]] = {}
    for argument in arguments:
        path = virtual_path(config, argument)
        assert path is not None
        leaf = argument.partition("::")[2]
        if path == Path("."):
            cases = plan.selected
        else:
            cases = {
                model: _matching(plan, model, leaf, argument) for model in _models(plan, path.as_posix(), argument)
            }
        for model, some in cases.items():
            found.setdefault(model, {}).update(dict.fromkeys(some))
    return {model: list(cases) for model, cases in found.items()}


def _models(plan: Plan, pattern: str, argument: str) -> list[str]:
    try:
        return choose([pattern], plan.models)
    except UnknownName as unknown:
        raise pytest.UsageError(
            f"{argument}: no model type {pattern!r}{plan.among}{nearest(pattern, unknown.known)}"
        ) from None


def _matching(plan: Plan, model: str, leaf: str, argument: str) -> list[Case]:
    """The cases of a model type that a leaf names: one case, or a task on every hardware; all of them without a leaf."""
    cases = plan.cases([model], [leaf.rpartition("-")[2]]).get(model, [])
    matching = [case for case in cases if leaf in ("", case.leaf, case.task)]
    if not matching:
        # It may exist and be left out by an option such as --ipfs-hardware: say what could be named here.
        raise pytest.UsageError(f"{argument}: no case {leaf!r} of {model}{nearest(leaf, [c.leaf for c in cases])}")
    return matching
