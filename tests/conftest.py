"""Runs of pytest inside the tests of the plugin."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., pytest.RunResult]

# fakes is imported by the tests too, so pytest cannot rewrite its assertions; there are none. Of the plugins that happen to be
# here some take a second to load where no bytecode is written.
OPTIONS = (
    *("-p", "fakes", "-p", "no:hypothesispytest", "-p", "no:anyio"),
    *("-W", "error::pytest.PytestWarning", "-W", "ignore::pytest.PytestAssertRewriteWarning"),
)


@pytest.fixture
def clean(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """An empty directory, and no settings from outside, nor of the worker that runs these tests."""
    for name in os.environ:
        if name.startswith(("PYTEST_IPFS_", "PYTEST_XDIST_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CACHE_HOME", str(pytester.path / "cache-home"))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    return pytester


@pytest.fixture
def run(clean: pytest.Pytester) -> Run:
    """Runs pytest with the model types, hardware and host of ``fakes``, every warning of pytest an error."""

    def run(*arguments: str) -> pytest.RunResult:
        return clean.runpytest_inprocess(*OPTIONS, *arguments)

    return run


@pytest.fixture
def run_apart(clean: pytest.Pytester) -> Run:
    """The same in a process of its own: pytest remembers the marks that were once registered in a process."""

    def run(*arguments: str) -> pytest.RunResult:
        return clean.runpytest_subprocess(*OPTIONS, *arguments)

    return run
