"""Runs of pytest inside the tests of the plugin."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., pytest.RunResult]


@pytest.fixture
def clean(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """An empty directory, and no settings from outside."""
    for name in os.environ:
        if name.startswith("PYTEST_IPFS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    return pytester


@pytest.fixture
def run(clean: pytest.Pytester) -> Run:
    """Runs pytest with the model types, hardware and host of ``fakes``, every warning of pytest an error."""

    def run(*arguments: str) -> pytest.RunResult:
        # The tests import fakes too, so pytest cannot rewrite its assertions; there are none.
        filters = ("-W", "error::pytest.PytestWarning", "-W", "ignore::pytest.PytestAssertRewriteWarning")
        # Not under test, and its modules take a second to load where no bytecode is written.
        others = ("-p", "no:hypothesispytest", "-p", "no:anyio")
        return clean.runpytest_inprocess("-p", "fakes", *others, *filters, *arguments)

    return run
