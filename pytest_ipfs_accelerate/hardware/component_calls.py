"""The calls of the components of an exported program: with what a component was called, what it gave, and what torch's own
module gives for the same."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers.exporters.runners.base import ModelRunner
from transformers.exporters.utils import get_leaf_tensors

from .generate import masks_written_out
from .intermediate import Call, Layers, Step, Values, hooked


@dataclass(frozen=True, slots=True, eq=False)
class Record:
    """The ``number``-th call of a component, counted from 1: its arguments by name, and the floating-point tensors that it gave
    by path."""

    component: str
    number: int
    arguments: Mapping[str, Any]
    found: Values


@dataclass(slots=True)
class _Recorded:
    """A runner that keeps what it was called with and what it gave."""

    runner: Any
    name: str
    records: list[Record]

    def __call__(self, share_inputs: bool = True, **arguments: Any) -> Any:
        given = copy.deepcopy(arguments)
        outputs = self.runner(share_inputs=share_inputs, **arguments)
        number = 1 + sum(record.component == self.name for record in self.records)
        self.records.append(Record(self.name, number, given, float_leaves(outputs)))
        return outputs

    def __getattr__(self, name: str) -> Any:
        return getattr(self.runner, name)


@contextmanager
def recorded(runners: dict[str, Any]) -> Iterator[list[Record]]:
    """For a time, the calls of ``runners`` in their order."""
    records: list[Record] = []
    kept = dict(runners)
    runners.update({name: _Recorded(runner, name, records) for name, runner in kept.items()})
    try:
        yield records
    finally:
        runners.update(kept)


def float_leaves(value: Any) -> dict[str, Tensor]:
    """The floating-point tensors of what a model returned, those of its cache among them, by path, on the CPU."""
    return {
        name: tensor.detach().clone().float().cpu()
        for name, tensor in get_leaf_tensors(value).items()
        if tensor.is_floating_point()
    }


class ComponentCall(Call):
    """One call of an exported component, beside one of the module that it replaces, with the ``constants`` that the exporter
    wrote into it; or beside the runner ``reference``, where it is held against that."""

    unit = "operator"

    def __init__(
        self, record: Record, module: nn.Module, constants: Mapping[str, Any], reference: ModelRunner | None = None
    ) -> None:
        self.arguments = record.arguments
        if reference is not None:
            self._layers, expected = Layers([]), float_leaves(reference(share_inputs=False, **self.given()))
        else:
            with torch.no_grad(), hooked(module) as self._layers, masks_written_out():
                expected = float_leaves(module(**{**constants, **self.given()}))
        super().__init__(record.component, record.number, record.found, expected)

    def given(self) -> dict[str, Any]:
        """The arguments of the call, once more: who is called with them may write into them."""
        return copy.deepcopy(dict(self.arguments))

    def layers(self) -> tuple[Sequence[Step], Values]:
        return self._layers.first()
