"""The ops of a Core ML program with what each of them gave, beside the nodes of torch's trace that they were made from."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.export import ExportedProgram
from transformers.exporters.metadata import ExportMetadata

from .component_calls import Record, float_leaves
from .coreml_convert import Converted, traced, whole
from .export_torch import flat_call
from .intermediate import Step, Values
from .mil import MilProgram, computes
from .traced_calls import Operation, TracedCall

if TYPE_CHECKING:
    from .coreml import MilRunner

IN_HALF = "_cast_fp16"
"""What coremltools puts behind the name of a value when it makes half precision of it."""


class MilCall(TracedCall):
    """One call of a component that was converted. The evaluation keeps every value, so that none has to be asked for."""

    def __init__(self, record: Record, runner: MilRunner) -> None:
        self.runner = runner
        super().__init__(record, runner.component)

    def trace(self) -> tuple[ExportedProgram, ExportMetadata]:
        return traced(self.part, flat_call(self.part, self.given()))

    @cached_property
    def _opened(self) -> tuple[Converted, MilProgram]:
        return self.runner.opened(flat_call(self.part, self.given()))

    @property
    def _program(self) -> MilProgram:
        return self._opened[1]

    def taken(self, tensors: Sequence[Tensor]) -> Sequence[Tensor]:
        return [tensor for tensor in tensors if tensor.numel()]

    def whole(self, outputs: Sequence[Tensor]) -> Sequence[Tensor]:
        return whole(self._opened[0].outputs, [output.detach().numpy() for output in outputs])

    @cached_property
    def _values(self) -> dict[str, Any]:
        """The values of the program that are those of a node, by its name."""
        found = {
            value.name.removesuffix(IN_HALF): value
            for operation in self._program.operations
            for value in operation.outputs
        }
        return {
            name: found[name]
            for name, node in self.nodes.items()
            if name in found and tuple(found[name].shape) == tuple(node.meta["val"].shape)
        }

    def steps(self) -> Sequence[Step]:
        operations = (
            Operation(
                operation.op_type if computes(operation) else "",
                [id(value) for value in operation.get_flattened_inputs()],
                [id(value) for value in operation.outputs],
            )
            for operation in self._program.operations
        )
        return list(self.steps_of(operations, {id(value): name for name, value in self._values.items()}))

    def values(self, names: Sequence[str]) -> Values:
        outputs = float_leaves(self.runner(**self.given()))
        held = {name: self._values[name].val for name in names if name in self._values}
        return outputs | {name: torch.from_numpy(np.array(value)).float() for name, value in held.items()}
