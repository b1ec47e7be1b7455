"""Core ML broken on purpose, one fault each, by import path; apart from ``sabotage``, since it needs coremltools."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from sabotage import Constant, Maskless, RowMixing, Scaled, broken

from pytest_ipfs_accelerate.hardware import mil
from pytest_ipfs_accelerate.hardware.coreml import CoreMl, CoreMlEndpoint


class _Endpoint(CoreMlEndpoint):
    """The same, made with the arguments that every endpoint of ``broken`` gets; its store is that of its hardware."""

    kept: Any = None

    def __init__(self, program: Any, threads: int, precision: str = "fp32") -> None:
        super().__init__(program, precision, _Endpoint.kept, allow_fallback=False)


class _Hardware(CoreMl):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        _Endpoint.kept = self.store


ScaledCoreMl = broken(Scaled, _Hardware, _Endpoint)
MasklessCoreMl = broken(Maskless, _Hardware, _Endpoint)
ConstantCoreMl = broken(Constant, _Hardware, _Endpoint)
RowMixingCoreMl = broken(RowMixing, _Hardware, _Endpoint)


class DeafToPrecisionCoreMl(CoreMl):
    """Asked for fp16, and converts to fp32."""

    def lower(self, checkpoint: Any, program: Any) -> Any:
        endpoint = super().lower(checkpoint, program)
        for runner in endpoint.runners.values():
            runner.precision = "fp32"
        return endpoint


class WrongOpCoreMl(CoreMl):
    """What one kind of op gives is too large: every softmax, by a per cent."""

    factor = 1.01

    def wrong(self, component: str, operation: Any) -> bool:
        return bool(operation.op_type == "softmax")

    def lower(self, checkpoint: Any, program: Any) -> Any:
        endpoint = super().lower(checkpoint, program)
        for name, runner in endpoint.runners.items():
            runner.opened = partial(self._opened, name, runner.opened)
        return endpoint

    def _opened(self, component: str, plain: Any, call: Any) -> Any:
        made, program = plain(call)
        program._evaluate = partial(self._evaluate, component, program)
        return made, program

    def _evaluate(self, component: str, program: Any, operation: Any) -> None:
        mil.MilProgram._evaluate(program, operation)
        if self.wrong(component, operation):
            for output in operation.outputs:
                program._set(output, np.asarray(output.val) * self.factor)


class ScaledNormCoreMl(WrongOpCoreMl):
    """The second normalisation alone is wrong, by as much as half precision shows, too."""

    factor = 2.0

    def wrong(self, component: str, operation: Any) -> bool:
        return operation.outputs[0].name in ("torch_layer_norm_1", "torch_layer_norm_1_cast_fp16")


class ScaledDecodeCoreMl(WrongOpCoreMl):
    """A step with a cache is wrong in its last normalisation; the prefill is right."""

    def wrong(self, component: str, operation: Any) -> bool:
        return component == "decode" and operation.outputs[0].name == "torch_layer_norm_4"
