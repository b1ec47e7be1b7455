"""Fixtures for users' own tests, and the host that the matrix runs on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from .matrix import Case

if TYPE_CHECKING:
    from .plan import Plan


def _plan(config: pytest.Config) -> Plan:
    # Imported on use: this module is loaded in every run, with the plugin.
    from .plan import plan_of

    return plan_of(config)


@pytest.fixture(scope="session")
def ipfs_host(pytestconfig: pytest.Config) -> Iterator[Any]:
    """What runs the cases of the matrix: a spawned process, or this one with ``--ipfs-isolate=none``.

    A conftest may override it with any object that has ``run(job) -> Verdict``.
    """
    from .host import Host, InProcess

    settings = _plan(pytestconfig).settings
    host: InProcess | Host = InProcess()
    if settings.isolate != "none":
        network = settings.weights == "hub"
        host = Host(timeouts=settings.timeouts, threads=settings.threads, network=network)
    yield host
    host.close()


@pytest.fixture
def ipfs_case(request: pytest.FixtureRequest) -> Case:
    """The case: of the item in the matrix, or one of the selection, over which a test that asks for it is parametrized."""
    case = getattr(request, "param", None) or getattr(request.node, "case", None)
    if case is None:
        pytest.skip("no case is selected: use --ipfs-models, or the marker ipfs_cases")
    assert isinstance(case, Case)
    return case


@pytest.fixture
def ipfs_checkpoint(ipfs_case: Case, pytestconfig: pytest.Config) -> Any:
    """The checkpoint of ``ipfs_case``: ``model``, ``processor``, ``config``. Skips where torch or transformers, or a library
    that the model needs, is missing, or a real checkpoint that was asked for."""
    plan = _plan(pytestconfig)
    if reason := plan.unavailable(ipfs_case._replace(hardware="cpu")):
        pytest.skip(reason)
    from .models.hub import CheckpointUnavailable
    from .opening import open_checkpoint

    try:
        return open_checkpoint(plan.job(ipfs_case).recipe)
    except CheckpointUnavailable as missing:
        pytest.skip(str(missing))


@pytest.fixture
def ipfs_handler(ipfs_case: Case, pytestconfig: pytest.Config) -> Any:
    """The handler of ``ipfs_case``, in this process: natural input in, ``HandlerResult`` out. Skips where the hardware is
    unavailable, which fails with ``--ipfs-require``, or a real checkpoint that was asked for."""
    plan = _plan(pytestconfig)
    if reason := plan.unavailable(ipfs_case):
        if ipfs_case.hardware in plan.require:
            pytest.fail(f"required and unavailable: {reason}", pytrace=False)
        pytest.skip(reason)
    from .models.hub import CheckpointUnavailable
    from .skillset.classes import open_handler

    try:
        return open_handler(plan.job(ipfs_case))
    except CheckpointUnavailable as missing:
        pytest.skip(str(missing))


def parametrize(metafunc: pytest.Metafunc) -> None:
    """Parametrize a user's test that asks for ``ipfs_case`` (itself or through a fixture) over the selection."""
    if "ipfs_case" not in metafunc.fixturenames:
        return
    from .nodes import marks_of

    plan = _plan(metafunc.config)
    marker = metafunc.definition.get_closest_marker("ipfs_cases")
    cases = _marked(plan, marker) if marker else _selected(plan)
    parameters = [
        pytest.param(
            case,
            id=f"{case.model}-{case.leaf}",
            marks=[pytest.MarkDecorator(mark, _ispytest=True) for mark in marks_of(case, plan.category(case.model))],
        )
        for case in cases
    ]
    metafunc.parametrize("ipfs_case", parameters, indirect=True)


def _selected(plan: Plan) -> list[Case]:
    return [case for cases in plan.selected.values() for case in cases] if plan.settings.selects else []


def _marked(plan: Plan, marker: pytest.Mark) -> list[Case]:
    """The selection of ``@pytest.mark.ipfs_cases(models=…, tasks=…, hardware=…)``, in the words of the options.

    Raises:
        pytest.UsageError: the marker has another argument, or a word names nothing.
    """
    unknown = sorted(set(marker.kwargs) - {"models", "tasks", "hardware"})
    if unknown or marker.args:
        raise pytest.UsageError(f"ipfs_cases takes models, tasks and hardware by keyword, not {unknown or marker.args}")
    return plan.marked_cases(**marker.kwargs)
