"""What a call of a model holds between its inputs and its outputs, on a hardware and beside it: the operators of an exported
graph with some of their results read out, or the modules of a torch model with hooks on them.

Nothing here judges; :mod:`pytest_ipfs_accelerate.explain` does.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

Values = Mapping[str, Tensor]
"""Floating-point tensors on the CPU, by the name of the value."""


@dataclass(frozen=True, slots=True)
class Step:
    """One operator of a graph or one module of a model: its type, its name, the path of the module that it comes from (empty
    where that is not known), and the names of the floating-point values that it reads and writes."""

    operator: str
    name: str
    module: str
    reads: tuple[str, ...]
    writes: tuple[str, ...]


class Call(ABC):
    """One call of a part of the model, by the name of the part and counted from 1. ``found`` are its outputs on the hardware,
    ``expected`` those of torch in fp32 on the CPU."""

    unit: str
    """What its steps are, in a word: ``operator``, ``layer``."""

    def __init__(self, component: str, number: int, found: Values, expected: Values) -> None:
        self.component = component
        self.number = number
        self.found = found
        self.expected = expected

    @abstractmethod
    def steps(self) -> Sequence[Step]:
        """Its steps in the order in which they run."""

    @abstractmethod
    def witnesses(self) -> Mapping[str, Callable[[], Values]]:
        """Who else can run the same steps on the same inputs, the most trusted first: by name, what gives the value of every
        step. The outputs have the names that they have in ``expected``."""

    @abstractmethod
    def values(self, names: Sequence[str]) -> Values:
        """These values and the outputs, from the hardware, with these and no others read out of it."""

    def layers(self) -> tuple[Sequence[Step], Values]:
        """The modules of torch's own model in this call, and their values."""
        return (), {}


@dataclass(slots=True)
class Layers:
    """The calls of the modules of a model, in the order in which they return, so that a module comes after its parts; by
    outermost call. A step of the k-th call is named after the path of its module."""

    calls: list[tuple[list[Step], dict[str, Tensor]]]

    def first(self) -> tuple[list[Step], dict[str, Tensor]]:
        return self.calls[0] if self.calls else ([], {})


@contextmanager
def hooked(model: nn.Module) -> Iterator[Layers]:
    """For a time, what every module of ``model`` is given and gives is kept."""
    seen = Layers([])
    open_: list[dict[str, Tensor]] = []

    def enter(module: nn.Module, args: Any, kwargs: Any) -> None:
        if not open_:
            seen.calls.append(([], {}))
        # Before the call: a module that works in place changes what it was given.
        open_.append(_floats((args, kwargs)))

    def leave(path: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: Any, kwargs: Any, outputs: Any) -> None:
            steps, values = seen.calls[-1]
            given, number = open_.pop(), len(steps)
            reads = {f"{number} reads {name}": tensor for name, tensor in given.items()}
            writes = {f"{number} writes {name}": tensor for name, tensor in _floats(outputs).items()}
            values.update(reads)
            values.update(writes)
            steps.append(Step(type(module).__name__, path, path, tuple(reads), tuple(writes)))

        return hook

    handles = []
    for path, module in model.named_modules():
        handles.append(module.register_forward_pre_hook(enter, with_kwargs=True))
        handles.append(module.register_forward_hook(leave(path), with_kwargs=True))
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def _floats(value: Any) -> dict[str, Tensor]:
    leaves = [leaf for leaf in tree_leaves(value) if isinstance(leaf, Tensor) and leaf.is_floating_point()]
    return {str(index): leaf.detach().clone().float().cpu() for index, leaf in enumerate(leaves)}


class LayersCall(Call):
    """One outermost call of a torch model on a device, beside the same call of the reference."""

    unit = "layer"

    def __init__(
        self,
        component: str,
        number: int,
        device: tuple[list[Step], dict[str, Tensor]],
        reference: tuple[list[Step], dict[str, Tensor]],
    ) -> None:
        self._steps, self._reference = reference
        self._device_steps, self._device = device
        last = self._steps[-1].writes
        super().__init__(
            component,
            number,
            {name: self._device[name] for name in last if name in self._device},
            {name: self._reference[name] for name in last},
        )

    def steps(self) -> Sequence[Step]:
        """Those that both sides have run: where one takes another way through its code, the rest cannot be compared."""
        same = 0
        for here, there in zip(self._steps, self._device_steps, strict=False):
            if here != there:
                break
            same += 1
        return self._steps[:same]

    def witnesses(self) -> Mapping[str, Callable[[], Values]]:
        return {f"torch {torch.__version__} in fp32 on the CPU": lambda: self._reference}

    def values(self, names: Sequence[str]) -> Values:
        return self._device


def layer_calls(device: Layers, reference: Layers) -> Iterator[LayersCall]:
    """The outermost calls of a model on a device and of its reference, side by side."""
    numbers: dict[str, int] = {}
    for here, there in zip(device.calls, reference.calls, strict=False):
        if here[0] and there[0]:
            name = there[0][-1].name or "model"
            numbers[name] = numbers.get(name, 0) + 1
            yield LayersCall(name, numbers[name], here, there)
