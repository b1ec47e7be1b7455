"""What a user can add: hardware, tasks, models, and the cases themselves.

The built-in hardware and tasks register through the same hooks, from :mod:`pytest_ipfs_accelerate.builtin`. Put an
implementation into a ``conftest.py`` or a plugin; code that needs torch or a runtime goes into a module that can be imported
by name, because the host process imports it from there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from .matrix import Case
    from .specs import HardwareSpec, TaskSpec


@pytest.hookspec
def pytest_ipfs_hardware(config: pytest.Config) -> Sequence[HardwareSpec]:  # type: ignore[empty-body]
    """Declare hardware. A name that is already declared is replaced by the later declaration (a conftest comes after the
    plugin).

    Example::

        # conftest.py
        from pytest_ipfs_accelerate import Availability, HardwareSpec

        def pytest_ipfs_hardware():
            return [HardwareSpec(
                name="loopback",
                target="my_hardware:Loopback",          # a pytest_ipfs_accelerate.hardware.base.Hardware
                probe=lambda: Availability(available=True, device="loopback"),
                summary="torch on the CPU under another name",
            )]
    """


@pytest.hookspec
def pytest_ipfs_tasks(config: pytest.Config) -> Sequence[TaskSpec]:  # type: ignore[empty-body]
    """Declare tasks. A name that is already declared is replaced by the later declaration.

    Example::

        def pytest_ipfs_tasks():
            from pytest_ipfs_accelerate import TaskSpec
            return [TaskSpec(name="sentence-similarity", target="my_tasks:SentenceSimilarity", aliases=("sts",))]
    """


@pytest.hookspec
def pytest_ipfs_models(config: pytest.Config) -> Mapping[str, Any]:  # type: ignore[empty-body]
    """Declare model types: rows in the form of ``models`` in ``model_registry.json``, by model type. A row that is already
    there is replaced.

    Example::

        def pytest_ipfs_models():
            return {"bert_wide": {
                "category": "language", "config_class": "BertConfig", "processor": "bert-wordpiece",
                "config": {"hidden_size": 128, "num_hidden_layers": 1, "num_attention_heads": 4,
                           "intermediate_size": 128, "vocab_size": 226, "max_position_embeddings": 64},
                "tasks": {"fill-mask": {"class": "BertForMaskedLM"}},
            }}
    """


@pytest.hookspec
def pytest_ipfs_modify_cases(config: pytest.Config, cases: list[Case]) -> None:
    """Add to, remove from or reorder the selected cases, in place, before any item exists. It must give the same answer in
    every xdist worker: never look at what hardware this machine has.

    Example::

        def pytest_ipfs_modify_cases(cases):
            cases[:] = [case for case in cases if case.task != "pretraining"]
    """
