"""A handler: natural input in, :class:`HandlerResult` out. One for each task × endpoint, made in memory."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from threading import RLock
from typing import Any

import torch
from torch import Tensor

from .hardware.base import Endpoint
from .matrix import Case
from .results import HandlerResult
from .tasks.base import Task
from .tasks.natural import natural_input

_ONE_AT_A_TIME = RLock()
"""Held while an endpoint computes: the seeds are those of the process, and a request of a runtime is one at a time, and would
take the inputs of another thread for its own."""


class Handler:
    """Runs one task on one endpoint. It may be called from several threads; they wait for each other.

    Example::

        handler("the quick brown [MASK] jumps")        # one input
        handler(["a [MASK]", "the [MASK]"])            # a batch
        handler("what is in the image ?", "cat.png")   # the parts of one input
    """

    def __init__(self, case: Case, task: Task, endpoint: Endpoint) -> None:
        self.case = case
        self.task = task
        self.endpoint = endpoint

    def __call__(self, *inputs: Any, **named: Any) -> HandlerResult:
        """The answer to one natural input, or to each of a list of them. A path stands for the picture or sound in it, and an
        input of several parts may be given as several arguments.

        Raises:
            TypeError, ValueError: the inputs are none of this task, or cannot form one batch.
            FileNotFoundError: there is no file at a path.
        """
        batch = self.task.batch(natural_input(self.task, inputs, named))
        return self.handle(batch, self.task.encode(batch))

    def handle(self, natural: Sequence[Any], encoded: Mapping[str, Tensor]) -> HandlerResult:
        """The answer to inputs that are already encoded."""
        started = time.perf_counter()
        outputs = self.compute(encoded)
        elapsed = time.perf_counter() - started
        rows = zip(self.task.rows(outputs, encoded), self.task.rows(encoded, encoded), natural, strict=True)
        return HandlerResult(
            decoded=tuple(self.task.decode(row, encoded_row, item) for row, encoded_row, item in rows),
            outputs=outputs,
            model=self.case.model,
            task=self.case.task,
            hardware=self.case.hardware,
            device=self.endpoint.device,
            precision=self.endpoint.precision,
            implementation=self.endpoint.implementation,
            elapsed=elapsed,
            evidence=self.endpoint.evidence(),
        )

    def compute(self, encoded: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The raw outputs for inputs that are already encoded."""
        with self.seeded():
            return self.call(encoded)

    @contextmanager
    def seeded(self) -> Iterator[None]:
        """For a time torch draws from the seed of the checkpoint: a model that draws random numbers where it infers draws the
        same ones each time."""
        with _ONE_AT_A_TIME, torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.task.checkpoint.recipe.seed)
            yield

    def call(self, encoded: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """One call of the endpoint, as the task asks for it."""
        return self.endpoint.generate(encoded) if self.task.generates else self.endpoint.forward(encoded)
