"""Faults at one place inside a model, on the hardware's side alone, by import path: what ``--ipfs-explain`` must find."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import onnx
import torch
from onnx import helper, numpy_helper

from pytest_ipfs_accelerate.hardware.export import Component
from pytest_ipfs_accelerate.hardware.onnxruntime import OnnxRuntime, OnnxRuntimeEndpoint
from pytest_ipfs_accelerate.hardware.openvino import OpenVino, OpenVinoEndpoint
from pytest_ipfs_accelerate.hardware.torch_device import Cpu

LAYER = "bert.encoder.layer.1.output.dense"


def nth(graph: onnx.GraphProto, operator: str, number: int) -> onnx.NodeProto:
    """The ``number``-th node of a type, from 0."""
    return [node for node in graph.node if node.op_type == operator][number]


def scaled(component: Component, operator: str, number: int, factor: float = 1.01) -> Component:
    """What one node of a type gives is too large by a factor."""
    model = onnx.load_from_string(component.onnx)
    node = nth(model.graph, operator, number)
    index, name = list(model.graph.node).index(node), node.output[0]
    node.output[0] = f"{name}/right"
    model.graph.initializer.append(numpy_helper.from_array(torch.tensor(factor).numpy(), f"{name}/factor"))
    model.graph.node.insert(index + 1, helper.make_node("Mul", [f"{name}/right", f"{name}/factor"], [name]))
    return replace(component, onnx=model.SerializeToString())


def swapped(component: Component) -> Component:
    """The rows of the first weight of a normalisation change places."""
    model = onnx.load_from_string(component.onnx)
    name = nth(model.graph, "LayerNormalization", 0).input[1]
    for tensor in model.graph.initializer:
        if tensor.name == name:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor)[::-1].copy(), name))
    return replace(component, onnx=model.SerializeToString())


class ScaledNorm:
    """The output of the second normalisation is too large, by one per cent where every number counts."""

    factor = 1.01

    def open(self, name: str, component: Component) -> Any:
        return super().open(name, scaled(component, "LayerNormalization", 1, self.factor))  # type: ignore[misc]


class SwappedConstant:
    """A constant is not the one of the model."""

    def open(self, name: str, component: Component) -> Any:
        return super().open(name, swapped(component))  # type: ignore[misc]


class BadFusion:
    """The second normalisation is wrong as long as nobody reads its output, as one in a wrong fusion is."""

    def open(self, name: str, component: Component) -> Any:
        graph = onnx.load_from_string(component.onnx).graph
        read = {output.name for output in graph.output}
        if nth(graph, "LayerNormalization", 1).output[0] not in read:
            component = scaled(component, "LayerNormalization", 1)
        return super().open(name, component)  # type: ignore[misc]


class ScaledDecode:
    """A step with a cache is wrong; the prefill is right."""

    def open(self, name: str, component: Component) -> Any:
        return super().open(name, scaled(component, "MatMul", 4) if name == "decode" else component)  # type: ignore[misc]


class Unreadable:
    """Refuses a graph with more outputs than the model has."""

    def open(self, name: str, component: Component) -> Any:
        if len(onnx.load_from_string(component.onnx).graph.output) > 1:
            raise ValueError("one output is enough\nat line 7")
        return super().open(name, scaled(component, "LayerNormalization", 1))  # type: ignore[misc]


class ScaledAfterwards:
    """Right inside, one per cent too large outside."""

    def forward(self, inputs: Any) -> Any:
        return {name: tensor * 1.01 for name, tensor in super().forward(inputs).items()}  # type: ignore[misc]


def _with(fault: type, hardware: type, endpoint: type) -> type:
    class Faulty(fault, endpoint):  # type: ignore[misc]
        pass

    class FaultyHardware(hardware):  # type: ignore[misc]
        def lower(self, checkpoint: Any, program: Any) -> Any:
            return Faulty(program, self.threads)

    return FaultyHardware


for _fault in (ScaledNorm, SwappedConstant, BadFusion, ScaledDecode, Unreadable, ScaledAfterwards):
    globals()[f"{_fault.__name__}OnnxRuntime"] = _with(_fault, OnnxRuntime, OnnxRuntimeEndpoint)
    globals()[f"{_fault.__name__}OpenVino"] = _with(_fault, OpenVino, OpenVinoEndpoint)


def __getattr__(name: str) -> type:
    """``ScaledNormQualcomm``, made where it is asked for: onnxruntime-qnn is an extra."""
    if name != "ScaledNormQualcomm":
        raise AttributeError(name)
    from pytest_ipfs_accelerate.hardware.qualcomm import Qualcomm, QualcommEndpoint

    class Faulty(ScaledNorm, QualcommEndpoint):
        factor = 2.0

    class FaultyQualcomm(Qualcomm):
        def lower(self, checkpoint: Any, program: Any) -> Any:
            return Faulty(program, self.threads, precision=self.precision or "fp16")

    return FaultyQualcomm


class BadExport(OnnxRuntime):
    """The exported graph itself is wrong, whoever runs it."""

    def lower(self, checkpoint: Any, program: Any) -> Any:
        components = {name: swapped(part) for name, part in program.components.items()}
        return super().lower(checkpoint, replace(program, components=components))


class ScaledLayer(Cpu):
    """One module in the second layer gives numbers that are twice too large."""

    def lower(self, checkpoint: Any, program: Any) -> Any:
        endpoint = super().lower(checkpoint, program)
        endpoint.model.get_submodule(LAYER).register_forward_hook(lambda module, given, output: output * 2)
        return endpoint


class WrongAttention(Cpu):
    """The code of one module is wrong, and each of its parts is right."""

    def lower(self, checkpoint: Any, program: Any) -> Any:
        endpoint = super().lower(checkpoint, program)
        attention = endpoint.model.get_submodule("bert.encoder.layer.1.attention.self")
        plain = attention.forward
        attention.forward = lambda *args, **kwargs: tuple(
            part * 1.1 if torch.is_tensor(part) else part for part in plain(*args, **kwargs)
        )
        return endpoint


class ScaledOutside(Cpu):
    """Right in every layer, ten per cent too large outside."""

    def lower(self, checkpoint: Any, program: Any) -> Any:
        endpoint = super().lower(checkpoint, program)
        plain = endpoint.forward
        endpoint.forward = lambda inputs: {name: tensor * 1.1 for name, tensor in plain(inputs).items()}
        return endpoint


class Closed(ScaledOutside):
    """Lets nobody look inside."""

    def lower(self, checkpoint: Any, program: Any) -> Any:
        endpoint = super().lower(checkpoint, program)

        def parts(reference: Any, run: Any) -> Any:
            raise NotImplementedError("nobody looks inside")

        endpoint.parts = parts
        return endpoint
