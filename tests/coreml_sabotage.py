"""Core ML broken on purpose, one fault each, by import path; apart from ``sabotage``, since it needs coremltools."""

from __future__ import annotations

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
    """One kind of op is evaluated wrongly: every softmax is a per cent too large."""

    def lower(self, checkpoint: Any, program: Any) -> Any:
        right = mil.evaluation_of

        def wrong(operation: Any) -> Any:
            if operation.op_type != "softmax":
                return right(operation)
            return lambda operation: np.asarray(operation.value_inference()) * 1.01

        endpoint = super().lower(checkpoint, program)
        plain = endpoint.forward

        def forward(inputs: Any) -> Any:
            mil.evaluation_of = wrong
            try:
                return plain(inputs)
            finally:
                mil.evaluation_of = right

        endpoint.forward = forward
        return endpoint
