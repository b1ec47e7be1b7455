"""The pytest hooks, and nothing else.

This module loads in every pytest run of its users, so it imports nothing heavy; what only an active run needs is imported by
the hook that needs it.
"""

from __future__ import annotations

from typing import Any

import pytest

from .arguments import asked_for
from .fixtures import ipfs_case, ipfs_checkpoint, ipfs_handler, ipfs_host
from .options import CASES_MARK, add_options, asked_to_list

__all__ = ["ipfs_case", "ipfs_checkpoint", "ipfs_handler", "ipfs_host"]


def pytest_addoption(parser: pytest.Parser) -> None:
    add_options(parser)


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    from . import hookspecs

    pluginmanager.add_hookspecs(hookspecs)


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> int | None:
    if not asked_to_list(config):
        return None
    from .plan import plan_of
    from .reports.terminal import listing

    for line in listing(plan_of(config)):
        print(line)
    return int(pytest.ExitCode.OK)


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("markers", False):
        from .plan import plan_of

        plan_of(config)
    elif asked_for(config):
        from .arguments import take_arguments
        from .nodes import ModuleCollection
        from .reports.recorder import record

        take_arguments(config)
        record(config)
        config.pluginmanager.register(ModuleCollection(), "ipfs_module_collection")
    else:
        config.addinivalue_line("markers", CASES_MARK)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Any:
    report = yield
    if isinstance(collector, pytest.Session) and report.passed and asked_for(collector.config):
        from .nodes import suite_of
        from .plan import SUITE_CASES

        if SUITE_CASES in collector.config.stash:
            report.result = [*report.result, suite_of(collector)]
    return report


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "ipfs_case" in metafunc.fixturenames:
        from .fixtures import parametrize

        parametrize(metafunc)
