"""Which axes of an exported program take any size.

``transformers.exporters`` marks every axis of every input, so that torch.export works out symbolic sizes for all of them, the
height and width of a picture among them: the windows of a sam2 took minutes, and a vit three times as long. Only the axes
along which the forms of a task differ are marked instead.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.export import Dim
from transformers.exporters import exporter_dynamo
from transformers.exporters.utils import patch_attribute

Axes = Mapping[str, tuple[int, ...]]
"""For each input, the axes along which its size varies."""


def varying_axes(traced: Mapping[str, Tensor], others: Sequence[Mapping[str, Tensor]]) -> Axes:
    """The axes along which ``others`` differ from the inputs that are traced; all axes of an input that one of them lacks or
    has in another rank."""
    found = {}
    for name, tensor in traced.items():
        shapes = [other[name].shape if name in other else () for other in others]
        every = any(len(shape) != tensor.dim() for shape in shapes)
        found[name] = tuple(
            axis for axis, size in enumerate(tensor.shape) if every or any(shape[axis] != size for shape in shapes)
        )
    return found


def _equal(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors hold the same numbers; masks and positions of small numbers may, by chance, and are none."""
    return one.is_floating_point() and one.dtype == other.dtype and torch.equal(one, other)


@contextmanager
def only_varying(inputs: Mapping[str, Tensor], axes: Axes) -> Iterator[None]:
    """For a time the exporter marks only ``axes`` of an argument that is one of ``inputs``, by name and shape or by its numbers
    (a tower may name the picture otherwise: florence2). What a model hands to its parts besides has every axis marked, as
    before."""

    def axes_of(name: str, value: Tensor) -> tuple[int, ...] | None:
        if name in axes and value.shape == inputs[name].shape:
            return axes[name]
        return next((axes[each] for each, tensor in inputs.items() if each in axes and _equal(tensor, value)), None)

    def of_inputs(original: Any) -> Any:
        def shapes_of(arguments: Any) -> Any:
            found = original(arguments)
            if type(arguments) is dict:
                for name, value in arguments.items():
                    marked = axes_of(name, value) if isinstance(value, Tensor) else None
                    if marked is not None:
                        found[name] = dict.fromkeys(marked, Dim.AUTO)
            return found

        return shapes_of

    with patch_attribute(exporter_dynamo, "get_auto_dynamic_shapes", of_inputs):
        yield
