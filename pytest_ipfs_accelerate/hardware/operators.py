"""The operators of an exported graph: their results read out of whatever runs it, and out of executors that are trusted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, numpy_helper
from onnx.reference import ReferenceEvaluator
from onnxruntime.capi import onnxruntime_pybind11_state as errors
from torch import Tensor, nn
from torch.utils._pytree import tree_structure, treespec_dumps
from transformers.exporters.runners.base import ModelRunner
from transformers.exporters.utils import onnx_feed

from .component_calls import ComponentCall, Record
from .export import Component
from .intermediate import Step, Values

_FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BFLOAT16)

_REFUSED = (errors.Fail, errors.InvalidArgument, errors.InvalidGraph, errors.NotImplemented, errors.RuntimeException)
"""How ONNX Runtime says that it cannot run a graph: none of them is a RuntimeError."""

Open = Callable[[str, Component], ModelRunner]
Witness = Callable[[bytes, Mapping[str, Any], Sequence[str]], Values]


def reference_evaluator(graph: bytes, arguments: Mapping[str, Any], names: Sequence[str]) -> Values:
    """Values by ONNX's own reference implementation, in numpy: nothing in it is fast, and nothing is fused."""
    evaluator = ReferenceEvaluator(onnx.load_from_string(graph))
    found: Any = evaluator.run(None, onnx_feed(list(evaluator.input_names), arguments), intermediate=True)
    return _floats({name: found[name] for name in names if found.get(name) is not None})


def plain_onnxruntime(graph: bytes, arguments: Mapping[str, Any], names: Sequence[str]) -> Values:
    """Values by ONNX Runtime's CPU provider, with no optimisation of the graph."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(with_outputs(graph, names), options, providers=["CPUExecutionProvider"])
        session.disable_fallback()
        feed = onnx_feed([value.name for value in session.get_inputs()], arguments)
        return _floats(dict(zip(names, session.run(list(names), feed), strict=True)))
    except _REFUSED as error:
        raise RuntimeError(str(error)) from error


EVALUATOR = f"the reference evaluator of onnx {onnx.__version__}"
PLAIN = f"ONNX Runtime {onnxruntime.__version__} on the CPU without optimisations"
WITNESSES: Mapping[str, Witness] = {PLAIN: plain_onnxruntime, EVALUATOR: reference_evaluator}


def _floats(arrays: Mapping[str, Any]) -> dict[str, Tensor]:
    tensors = {name: torch.from_numpy(np.array(array)) for name, array in arrays.items()}
    return {name: tensor.float() for name, tensor in tensors.items() if tensor.is_floating_point()}


def with_outputs(graph: bytes, names: Iterable[str]) -> bytes:
    """The graph with these values among its outputs, after those that it has. The type of each must be known."""
    model = typed(graph)
    here = {output.name for output in model.graph.output}
    types = {value.name: value for value in model.graph.value_info}
    model.graph.output.extend(types[name] for name in names if name not in here)
    changed: bytes = model.SerializeToString()
    return changed


def typed(graph: bytes) -> onnx.ModelProto:
    """The graph with the type of every value that is known: the exporter writes them down, a quantiser does not."""
    model = onnx.load_from_string(graph)
    known = {value.name for value in [*model.graph.value_info, *model.graph.output]}
    if all(name in known for node in model.graph.node for name in node.output if name):
        return model
    return onnx.shape_inference.infer_shapes(model)


def read_out(part: Part, arguments: Any, names: Sequence[str]) -> Values:
    """Values and outputs of a component, opened as the hardware opens every component, but with these values among its
    outputs."""
    component = part.component
    graph = with_outputs(component.onnx, names)
    outputs = [output.name for output in onnx.load_from_string(graph).graph.output]
    # A flat list in the place of the model's own output: every runner then gives all that the graph gives.
    metadata = replace(
        component.metadata, out_spec=treespec_dumps(tree_structure([0] * len(outputs))), out_constants=[]
    )
    runner = part.open(part.name, replace(component, onnx=graph, metadata=metadata))
    found = runner(share_inputs=False, **arguments)
    pairs = zip(outputs, found, strict=True)
    return {output: tensor.detach().clone().float() for output, tensor in pairs if tensor.is_floating_point()}


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """An exported component, the module that it replaces, how the hardware opens one, and the runner that it is held against
    where that is not the module."""

    name: str
    component: Component
    module: nn.Module
    open: Open
    reference: ModelRunner | None = None


class GraphCall(ComponentCall):
    """One call of an exported graph."""

    def __init__(self, part: Part, record: Record, witnesses: Sequence[str]) -> None:
        self._part = part
        self._witnesses = witnesses
        super().__init__(record, part.module, part.component.metadata.in_constants, part.reference)

    def steps(self) -> Sequence[Step]:
        return graph_steps(self._part.component, self._part.module)

    def witnesses(self) -> Mapping[str, Callable[[], Values]]:
        names = [name for step in self.steps() for name in step.writes]

        def run(witness: Witness) -> Callable[[], Values]:
            return lambda: as_torch_names(witness(self._part.component.onnx, self.given(), names))

        return {name: run(WITNESSES[name]) for name in self._witnesses}

    def values(self, names: Sequence[str]) -> Values:
        return as_torch_names(read_out(self._part, self.given(), names))


def as_torch_names(values: Values) -> Values:
    """Values by the names of the graph, and once more by torch's where that differs: the exporter puts ``output.`` before an
    output that has the name of an input."""
    return {**{name.removeprefix("output."): tensor for name, tensor in values.items()}, **values}


def graph_steps(component: Component, module: nn.Module) -> list[Step]:
    """The operators of a graph in topological order, which is that of an ONNX file."""
    graph = typed(component.onnx).graph
    infos = [*graph.input, *graph.value_info, *graph.output]
    floats = {value.name for value in infos if value.type.tensor_type.elem_type in _FLOATS}
    paths = _Paths(graph, module, component.module)
    return [
        Step(
            node.op_type,
            node.name,
            paths.of(node),
            tuple(name for name in node.input if name in floats),
            tuple(name for name in node.output if name in floats),
        )
        for node in graph.node
    ]


class _Paths:
    """Which module an operator comes from, by the parameters that it reads. One that reads none lies within what the nearest
    operators before and after it have in common."""

    def __init__(self, graph: onnx.GraphProto, module: nn.Module, path: str) -> None:
        self._path = path
        self._module = module
        self._parameters = dict(module.named_parameters(remove_duplicate=False))
        constants = {tensor.name: tensor for tensor in graph.initializer}
        self._own: dict[str, str] = {}
        known = {name: self._parameter(tensor) for name, tensor in constants.items()}
        for node in graph.node:
            parameters = [known[name] for name in node.input if known.get(name)]
            self._own[_key(node)] = self._owner(parameters[0], node.op_type) if parameters else ""
            if parameters and all(name in known for name in node.input if name):
                known |= dict.fromkeys(node.output, parameters[0])  # a parameter that is turned round first
        writers = {name: node for node in graph.node for name in node.output}
        before = [(_key(node), [_key(writers[name]) for name in node.input if name in writers]) for node in graph.node]
        after: dict[str, list[str]] = {}
        for key, sources in before:
            for source in sources:
                after.setdefault(source, []).append(key)
        self._before = self._nearest(before)
        self._after = self._nearest([(key, after.get(key, [])) for key, _ in reversed(before)])

    def _nearest(self, links: Iterable[tuple[str, list[str]]]) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for key, others in links:
            found[key] = {path for other in others for path in ({self._own[other]} - {""} or found[other])}
        return found

    def _owner(self, name: str, operator: str) -> str:
        """The module of a parameter; of several that share it, a table for what looks up and another for what multiplies."""
        parameter = self._parameters[name]
        owners = [other.rpartition(".")[0] for other, shared in self._parameters.items() if shared is parameter]
        looks_up = operator == "Gather"
        fitting = (path for path in owners if isinstance(self._module.get_submodule(path), nn.Embedding) == looks_up)
        return next(fitting, owners[0])

    def _parameter(self, constant: TensorProto) -> str:
        """The name of the parameter that a constant is, as it is or transposed; the exporter renames what it transposes."""
        if constant.name in self._parameters:
            return constant.name
        if len(constant.dims) < 2:
            return ""
        shapes = (tuple(constant.dims), tuple(reversed(constant.dims)))
        fitting = {name: value for name, value in self._parameters.items() if tuple(value.shape) in shapes}
        if not fitting:
            return ""
        value = torch.from_numpy(numpy_helper.to_array(constant).copy())
        for name, parameter in fitting.items():
            if any(
                torch.equal(turned, value) for turned in (parameter, parameter.permute(*reversed(range(value.dim()))))
            ):
                return name
        return ""

    def of(self, node: onnx.NodeProto) -> str:
        """The path of the module, from the root of the model; empty where nothing says it."""
        key = _key(node)
        path = self._own[key] or _common(sorted(self._before[key]), sorted(self._after[key]))
        return ".".join(part for part in (self._path, path) if part)


def _key(node: onnx.NodeProto) -> str:
    """What stands for an operator: its name may be missing, an output may not."""
    return str(next(name for name in node.output if name))


def _common(before: Iterable[str], after: Iterable[str]) -> str:
    """The deepest module that holds both one that comes before and one that comes after."""
    return max((_shared(one.split("."), other.split(".")) for one in before for other in after), key=len, default="")


def _shared(one: Sequence[str], other: Sequence[str]) -> str:
    return ".".join(first for first, _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))
