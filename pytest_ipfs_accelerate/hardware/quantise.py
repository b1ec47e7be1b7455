"""Quantised programs: each component with its weights and activations as integers, in ONNX's QDQ form.

A component is calibrated on what it was really called with: the program runs once, in fp32 on ONNX Runtime, on the two samples
that it was exported from, and every call of every component is recorded.
"""

from __future__ import annotations

import logging
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto
from onnxruntime.quantization import CalibrationDataReader, QuantType, StaticQuantConfig, quantize
from onnxruntime.quantization.execution_providers.qnn import get_qnn_qdq_config
from torch import Tensor
from transformers.exporters.runners.runner_onnx import OnnxModelRunner
from transformers.exporters.utils import onnx_feed

from ..parity import TOLERANCES, compare_outputs
from .export import Component, Program
from .onnxruntime import OnnxRuntimeEndpoint

Feed = dict[str, NDArray[Any]]
"""The inputs of one call of a component, by name."""


class Scheme(NamedTuple):
    """The integers of a quantisation: of what flows through the graph, and of its weights."""

    activations: QuantType
    weights: QuantType


SCHEMES: Mapping[str, Scheme] = {
    "a16w8": Scheme(QuantType.QUInt16, QuantType.QUInt8),
    "a8w8": Scheme(QuantType.QUInt8, QuantType.QUInt8),
    "int8": Scheme(QuantType.QUInt8, QuantType.QInt8),
}


class _Recording(OnnxRuntimeEndpoint):
    """Runs a program in fp32, and keeps what every component was called with."""

    def __init__(self, program: Program, threads: int) -> None:
        self.feeds: dict[str, list[Feed]] = {name: [] for name in program.components}
        super().__init__(program, threads)

    def open(self, name: str, component: Component) -> OnnxModelRunner:
        runner, feeds = super().open(name, component), self.feeds[name]
        inputs = [value.name for value in runner.session.get_inputs()]

        class Recorder(type(runner)):  # type: ignore[misc]
            def __call__(self, share_inputs: bool = True, share_outputs: bool = False, **kwargs: Any) -> Any:
                # Copies: a cache is extended in place.
                feeds.append({key: np.array(value) for key, value in onnx_feed(inputs, kwargs).items()})
                return super().__call__(share_inputs, share_outputs, **kwargs)

        runner.__class__ = Recorder
        return runner


def recorded_feeds(program: Program, threads: int) -> dict[str, list[Feed]]:
    """By component: the inputs of each of its calls while the program runs on the samples that it was exported from."""
    endpoint = _Recording(program, threads)
    run = endpoint.generate if program.generates else endpoint.forward
    run(program.samples)
    return endpoint.feeds


class _Reader(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, feeds: Sequence[Feed]) -> None:
        self._feeds = feeds
        self.rewind()

    def get_next(self) -> Feed | None:
        return next(self._left, None)

    def rewind(self) -> None:
        self._left: Iterator[Feed] = iter(self._feeds)


def _matrices_alone(model: Path, reader: CalibrationDataReader, **types: QuantType) -> StaticQuantConfig:
    """Only what gains by integers on a CPU: products with a matrix, and convolutions."""
    return StaticQuantConfig(reader, op_types_to_quantize=["MatMul", "Gemm", "Conv"], **types)


_CONFIGS: Mapping[str, Callable[..., StaticQuantConfig]] = {
    "a16w8": get_qnn_qdq_config,
    "a8w8": get_qnn_qdq_config,
    "int8": _matrices_alone,
}


def quantised(model: ModelProto, feeds: Sequence[Feed], scheme: str) -> ModelProto:
    """A graph in QDQ form, calibrated on these calls of it."""
    activations, weights = SCHEMES[scheme]
    with tempfile.TemporaryDirectory() as name, _quiet():
        before, after = Path(name, "float.onnx"), Path(name, "quantised.onnx")
        onnx.save(model, before)
        config = _CONFIGS[scheme](before, _Reader(feeds), activation_type=activations, weight_type=weights)
        quantize(before, after, config)
        return onnx.load(after)


def quantised_tensors(models: Iterable[ModelProto]) -> dict[str, int]:
    """How many tensors graphs quantise while they run, by the integer that they become; weights are integers from the start,
    and not among them."""
    found: Counter[str] = Counter()
    for graph in (model.graph for model in models):
        types = {tensor.name: TensorProto.DataType.Name(tensor.data_type).lower() for tensor in graph.initializer}
        found.update(types[node.input[2]] for node in graph.node if node.op_type == "QuantizeLinear")
    return dict(found)


def scheme_found(tensors: Mapping[str, int]) -> str:
    """The precision of a quantised graph, by what most of its activations are; empty where nothing is quantised. Tensors of
    two integers meet where one operator takes 8 bits alone."""
    if not tensors:
        return ""
    return {"uint16": "a16w8", "uint8": "a8w8"}.get(max(tensors, key=tensors.__getitem__), "")


def check_rewriting(name: str, before: bytes, after: ModelProto, feed: Feed) -> None:
    """Hold a graph that was rewritten for a hardware against the one that it was made of, both in floats: in integers the two
    sides of a comparison share the rewritten one, and would share its fault.

    Raises:
        RewritingFault: it gives other numbers.
    """
    expected, actual = _run(before, feed), _run(after.SerializeToString(), feed)
    for comparison in compare_outputs(expected, actual, TOLERANCES["onnxruntime", "fp32"], "before it was rewritten"):
        if not comparison.ok:
            raise RewritingFault(f"{name}: {comparison}")


class RewritingFault(Exception):
    """A graph that was rewritten for a hardware gives other numbers in floats."""


def _run(data: bytes, feed: Feed) -> dict[str, Tensor]:
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_outputs()]
    return {
        name: torch.from_numpy(np.asarray(value)) for name, value in zip(names, session.run(None, feed), strict=True)
    }


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the advice of the quantiser to preprocess the graph: what it would do, the exporter has done."""
    logger = logging.getLogger()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def quantised_program(program: Program, models: Mapping[str, ModelProto], scheme: str, threads: int) -> Program:
    """A program with each of its components (``models``, as the hardware wants them) quantised.

    Raises:
        RewritingFault: a component as the hardware wants it gives other numbers.
    """
    feeds = recorded_feeds(program, threads)
    for name, component in program.components.items():
        check_rewriting(name, component.onnx, models[name], feeds[name][0])
    components = {
        name: replace(component, onnx=quantised(models[name], feeds[name], scheme).SerializeToString())
        for name, component in program.components.items()
    }
    return replace(program, components=components, notes=(*program.notes, f"quantised to {scheme} in QDQ form"))
