"""A saved Core ML program evaluated op by op, where there is no Core ML.

The numbers of an op are those of coremltools' own ``value_inference``, by which its converter folds constants; for the ops that
have none they are in :mod:`.mil_evaluations`. It finds what the conversion got wrong, and nothing that Core ML's runtime does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from coremltools.converters.mil.frontend.milproto.load import load as load_mil
from coremltools.converters.mil.mil import types
from coremltools.converters.mil.mil.types.symbolic import is_symbolic
from coremltools.proto import Model_pb2
from numpy.typing import NDArray

from .base import NotOnHardware
from .export_torch import OF_TORCH
from .mil_evaluations import evaluation_of

Array = NDArray[Any]


class MilProgram:
    """A program read from the bytes of its ``model.mlmodel`` and ``weight.bin``."""

    def __init__(self, spec: bytes, weights: bytes) -> None:
        model = Model_pb2.Model()
        model.ParseFromString(spec)
        with TemporaryDirectory() as folder:
            (Path(folder) / "weight.bin").write_bytes(weights)
            program = load_mil(model, specification_version=model.specificationVersion, file_weights_dir=folder)
        self.function = program.functions["main"]
        self.operations = [operation for operation in self.function.operations if operation.op_type != "const"]
        for operation in self.function.operations:
            if operation.op_type == "const":
                # numpy 2: its bool is no int, and some ops hand theirs on as one (keep_dims).
                value = operation.outputs[0]
                if isinstance(value.val, np.bool_):
                    value._sym_val.val = bool(value.val)
        self._declared: dict[int, Any] = {}
        self.by_mil: Counter[str] = Counter()
        """Ops evaluated by MIL's own value inference, by kind; over all runs."""
        self.by_ours: Counter[str] = Counter()
        """Ops evaluated by :mod:`.mil_evaluations`, by kind; over all runs."""

    @cached_property
    def precisions(self) -> dict[str, int]:
        """How many ops compute floating-point numbers in each precision."""
        found: Counter[str] = Counter()
        for operation in self.operations:
            if computes(operation):
                found.update({type_name(output) for output in operation.outputs if is_float(output)})
        return dict(found)

    def __call__(self, inputs: Sequence[Array]) -> list[Array]:
        """The outputs for ``inputs``, in the order of the program.

        Raises:
            NotOnHardware: an op has no evaluation, or its own one fails.
        """
        for value, array in zip(self.function.inputs.values(), inputs, strict=True):
            self._set(value, array)
        for operation in self.operations:
            self._evaluate(operation)
        return [np.asarray(value.val) for value in self.function.outputs]

    def _evaluate(self, operation: Any) -> None:
        kind, name = operation.op_type, operation.name.removeprefix(OF_TORCH)
        ours = evaluation_of(operation)
        try:
            with np.errstate(all="ignore"):
                found = ours(operation) if ours else operation.value_inference()
        except NotImplementedError:
            found = None
        except Exception as error:
            by = "our evaluation" if ours else "MIL's value inference"
            raise NotOnHardware(f"{by} of {kind} ({name}) fails") from error
        if found is None:
            raise NotOnHardware(f"MIL's value inference has no value for {kind} ({name}), and we have none")
        (self.by_ours if ours else self.by_mil)[kind] += 1
        values = found if isinstance(found, tuple | list) and len(operation.outputs) > 1 else [found]
        for output, value in zip(operation.outputs, values, strict=True):
            self._set(output, value)

    def _set(self, value: Any, number: Any) -> None:
        """Give a value its number, in its own type and shape.

        Raises:
            ValueError: the number has another shape than the program says.
        """
        declared = self._declared.setdefault(id(value), value.sym_type)
        array = np.asarray(number)
        if types.is_tensor(declared):
            primitive, sizes = declared.get_primitive(), declared.get_shape()
            # A dimension that depends on the numbers, as that of non_zero, is a symbol in the program.
            fits = len(sizes) == array.ndim and all(
                is_symbolic(size) or size == found for size, found in zip(sizes, array.shape, strict=True)
            )
            if not fits:
                raise ValueError(f"{value.name} has shape {tuple(sizes)}, its evaluation gave {array.shape}")
            value._sym_type = types.tensor(primitive, array.shape)
            held = value._sym_type()
            held.val = np.ascontiguousarray(array, dtype=types.nptype_from_builtin(primitive)).reshape(array.shape)
        else:
            held = declared(array.reshape(-1)[0].item())
        value._sym_val = held


def type_name(value: Any) -> str:
    """The type of a value's elements, by MIL's name of it: ``fp32``, ``fp16``, ``int32``, ``bool``."""
    kind = value.sym_type
    return str(types.builtin_to_string(kind.get_primitive() if types.is_tensor(kind) else kind))


def is_float(value: Any) -> bool:
    """Whether a value's elements are floating-point numbers."""
    return type_name(value).startswith("fp")


def computes(operation: Any) -> bool:
    """Whether an op computes floating-point numbers: a cast does not."""
    return operation.op_type not in ("cast", "identity") and any(is_float(output) for output in operation.outputs)
