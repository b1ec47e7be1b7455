"""Hardware that is broken on purpose, one fault each, by import path. Each fault sits on the backend's side alone: the
reference never sees it."""

from __future__ import annotations

import copy
import weakref
from dataclasses import replace
from typing import Any

import onnx
import torch
from torch.utils._pytree import tree_map_only

from pytest_ipfs_accelerate.hardware.onnxruntime import OnnxRuntime, OnnxRuntimeEndpoint
from pytest_ipfs_accelerate.hardware.openvino import OpenVino, OpenVinoEndpoint
from pytest_ipfs_accelerate.hardware.torch_device import Cpu
from pytest_ipfs_accelerate.models.initialize import initialize
from pytest_ipfs_accelerate.verdict import Implementation


def _floats(change: Any) -> Any:
    return lambda tensor: change(tensor) if tensor.is_floating_point() else tensor


class Scaled:
    """Every number that the runtime gives is 1 % too large."""

    factor = 1.01

    def outputs(self, outputs: Any) -> Any:
        return tree_map_only(torch.Tensor, _floats(lambda tensor: tensor * self.factor), outputs)


class Maskless:
    """The runtime attends to padding."""

    def inputs(self, inputs: dict[str, Any]) -> dict[str, Any]:
        masks = {name: torch.ones_like(value) for name, value in inputs.items() if name == "attention_mask"}
        return {**inputs, **masks}


class Constant:
    """The runtime answers the same number everywhere."""

    def outputs(self, outputs: Any) -> Any:
        return tree_map_only(torch.Tensor, _floats(lambda tensor: torch.full_like(tensor, 0.25)), outputs)


class NotFinite:
    """The runtime overflows in one place."""

    def outputs(self, outputs: Any) -> Any:
        def spoil(tensor: torch.Tensor) -> torch.Tensor:
            tensor = tensor.clone()
            tensor.flatten()[0] = torch.inf
            return tensor

        return tree_map_only(torch.Tensor, _floats(spoil), outputs)


class Frozen:
    """The runtime answers every input of a shape as it answered the first one."""

    def outputs(self, outputs: Any) -> Any:
        seen = self.__dict__.setdefault("seen", {})
        shapes = tuple(tensor.shape for tensor in torch.utils._pytree.tree_leaves(outputs) if torch.is_tensor(tensor))
        return seen.setdefault(shapes, outputs)


class RowMixing:
    """In a batch of two the runtime lets the first row leak into the second."""

    def outputs(self, outputs: Any) -> Any:
        def mix(tensor: torch.Tensor) -> torch.Tensor:
            return tensor + 0.01 * tensor[:1] if tensor.dim() and tensor.shape[0] == 2 else tensor

        return tree_map_only(torch.Tensor, _floats(mix), outputs)


class Mock(Cpu):
    """Says that it is a mock, and computes what is right."""

    def lower(self, checkpoint: Any, program: Any) -> Any:
        endpoint = super().lower(checkpoint, program)
        endpoint.implementation = Implementation.MOCK
        return endpoint


class DeafToPrecision(Cpu):
    """Computes in fp32 whatever it is asked for."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{**options, "precision": ""})


class HalfElsewhere(Cpu):
    """Computes in fp16, as torch does, on a device that is not torch's own."""

    def lower(self, checkpoint: Any, program: Any) -> Any:
        self.precision = "fp16"
        endpoint = super().lower(checkpoint, program)
        endpoint.device = "elsewhere"
        return endpoint


class ScaledHalf(HalfElsewhere):
    """Computes in fp16, and every number is 5 % too large."""

    def lower(self, checkpoint: Any, program: Any) -> Any:
        endpoint = super().lower(checkpoint, program)
        forward = endpoint.forward
        endpoint.forward = lambda inputs: {name: tensor * 1.05 for name, tensor in forward(inputs).items()}
        return endpoint


class Jittered(Cpu):
    """Computes in fp32 on a device that is not torch's own, where every number is off by a relative 1.1e-5, up or down."""

    def lower(self, checkpoint: Any, program: Any) -> Any:
        endpoint = super().lower(checkpoint, program)
        endpoint.device = "elsewhere"
        forward = endpoint.forward

        def jitter(tensor: torch.Tensor) -> torch.Tensor:
            signs = 1 - 2 * (torch.arange(tensor.numel()) % 2)
            return tensor * (1 + 1.1e-5 * signs.reshape(tensor.shape))

        endpoint.forward = lambda inputs: {name: jitter(tensor) for name, tensor in forward(inputs).items()}
        return endpoint


class ScaledCpu(Cpu):
    """Every number is a tenth too large, in whatever precision."""

    def lower(self, checkpoint: Any, program: Any) -> Any:
        endpoint = super().lower(checkpoint, program)
        plain = endpoint.generate

        def generate(inputs: Any) -> Any:
            return tree_map_only(torch.Tensor, _floats(lambda tensor: tensor * 1.1), plain(inputs))

        endpoint.generate = generate
        return endpoint


class Cacheless(Cpu):
    """Generates without a cache: the tokens are right, and every one costs the whole text."""

    def lower(self, checkpoint: Any, program: Any) -> Any:
        endpoint = super().lower(checkpoint, program)
        endpoint.model.generation_config.use_cache = False
        return endpoint


class MasklessGeneration(Cpu):
    """Attends to padding when it generates, for a batch of at least so many."""

    least = 1

    def lower(self, checkpoint: Any, program: Any) -> Any:
        endpoint = super().lower(checkpoint, program)
        plain = endpoint.generate

        def generate(inputs: Any) -> Any:
            mask = inputs["attention_mask"]
            masks = {"attention_mask": torch.ones_like(mask)} if len(mask) >= self.least else {}
            return plain({**inputs, **masks})

        endpoint.generate = generate
        return endpoint


class MasklessBatch(MasklessGeneration):
    """Attends to the padding of a batch alone."""

    least = 2


class WrongInFours(Cpu):
    """Right for one input and for two; of four every number is 1 % too large."""

    def lower(self, checkpoint: Any, program: Any) -> Any:
        endpoint = super().lower(checkpoint, program)
        plain = endpoint.forward

        def forward(inputs: Any) -> Any:
            outputs = plain(inputs)
            wrong = len(inputs["input_ids"]) == 4
            return {name: tensor * 1.01 if wrong else tensor for name, tensor in outputs.items()}

        endpoint.forward = forward
        return endpoint


class NoRoomForFour(Cpu):
    """Runs out of memory with more than two inputs."""

    def lower(self, checkpoint: Any, program: Any) -> Any:
        endpoint = super().lower(checkpoint, program)
        plain = endpoint.forward

        def forward(inputs: Any) -> Any:
            if len(inputs["input_ids"]) > 2:
                raise torch.OutOfMemoryError("CUDA out of memory.")
            return plain(inputs)

        endpoint.forward = forward
        return endpoint


class FallenBackOnnxRuntime(OnnxRuntime):
    """Asked for a GPU, and computes on the CPU without a word."""

    def lower(self, checkpoint: Any, program: Any) -> Any:
        endpoint = super().lower(checkpoint, program)
        endpoint.provider = "CUDAExecutionProvider"
        return endpoint


class HalvedOnnxRuntime(OnnxRuntime):
    """Its graphs hold fp16."""

    def lower(self, checkpoint: Any, program: Any) -> Any:
        return super().lower(checkpoint, halved(program))


def halved(program: Any) -> Any:
    """The program with a matrix of each graph in fp16."""
    components = {name: replace(part, onnx=_halved(part.onnx)) for name, part in program.components.items()}
    return replace(program, components=components)


def _halved(data: bytes) -> bytes:
    """The graph with its first matrix in fp16, cast to fp32 where it is read."""
    model = onnx.load_from_string(data)
    graph = model.graph
    index, weight = next(
        (i, t) for i, t in enumerate(graph.initializer) if t.data_type == onnx.TensorProto.FLOAT and len(t.dims) > 1
    )
    name = weight.name
    half = onnx.numpy_helper.to_array(weight).astype("float16")
    graph.initializer[index].CopyFrom(onnx.numpy_helper.from_array(half, f"{name}/half"))
    graph.node.insert(0, onnx.helper.make_node("Cast", [f"{name}/half"], [name], to=onnx.TensorProto.FLOAT))
    return bytes(model.SerializeToString())


class FallenBackOpenVino(OpenVino):
    """Asked for a GPU, and computes on the CPU without a word."""

    def lower(self, checkpoint: Any, program: Any) -> Any:
        endpoint = super().lower(checkpoint, program)
        endpoint.target = "GPU"
        return endpoint


class DeafToPrecisionOpenVino(OpenVino):
    """Asked for fp16, and computes in fp32."""

    def lower(self, checkpoint: Any, program: Any) -> Any:
        endpoint = super().lower(checkpoint, program)
        endpoint.precision = "fp16"
        return endpoint


class FallenBackTorch(Cpu):
    """Asked for a device, and leaves the model on the CPU."""

    def lower(self, checkpoint: Any, program: Any) -> Any:
        endpoint = super().lower(checkpoint, program)
        endpoint.torch_device = torch.device("meta")
        endpoint._moved = dict
        return endpoint


class WrongTwin(OnnxRuntime):
    """Right as it is run, and one per cent off without optimisations."""

    def lower(self, checkpoint: Any, program: Any) -> Any:
        endpoint = super().lower(checkpoint, program)
        twin = globals()["ScaledOnnxRuntime"]().lower(checkpoint, program)
        endpoint.twins = lambda: {"optimisations off": twin}
        return endpoint


class OnCpu(Cpu):
    """A stand-in for a GPU, which no machine of these tests has."""


class Substituted(Cpu):
    """Lowers other weights of the same class in the place of those that it was given."""

    def lower(self, checkpoint: Any, program: Any) -> Any:
        model = copy.deepcopy(checkpoint.model)
        initialize(model, checkpoint.recipe.seed + 1)
        return super().lower(replace(checkpoint, model=model), program)


class Greedy(OnCpu):
    """Runs out of memory when it is called."""

    held: Any = None

    def lower(self, checkpoint: Any, program: Any) -> Any:
        endpoint = super().lower(checkpoint, program)
        Greedy.held = weakref.ref(endpoint.model)

        def forward(inputs: Any) -> Any:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 80.00 GiB. GPU 0 has less.")

        endpoint.forward = forward
        return endpoint


def broken(fault: type, hardware: type, endpoint: type) -> type:
    """``hardware`` with ``fault`` between every runner of its endpoint and whoever calls it."""

    class Broken(endpoint):  # type: ignore[misc]
        def open(self, name: str, component: Any) -> Any:
            runner = super().open(name, component)
            applied, plain = fault(), type(runner).__call__

            class BrokenRunner(type(runner)):  # type: ignore[misc]
                def __call__(self, **kwargs: Any) -> Any:
                    kwargs = applied.inputs(kwargs) if hasattr(applied, "inputs") else kwargs
                    outputs = plain(self, **kwargs)
                    return applied.outputs(outputs) if hasattr(applied, "outputs") else outputs

            runner.__class__ = BrokenRunner
            return runner

    class BrokenHardware(hardware):  # type: ignore[misc]
        def lower(self, checkpoint: Any, program: Any) -> Any:
            return Broken(program, self.threads, **({"precision": self.precision} if self.precision else {}))

    return BrokenHardware


FAULTS = (Scaled, Maskless, Constant, NotFinite, Frozen, RowMixing)

for _fault in FAULTS:
    globals()[f"{_fault.__name__}OnnxRuntime"] = broken(_fault, OnnxRuntime, OnnxRuntimeEndpoint)
    globals()[f"{_fault.__name__}OpenVino"] = broken(_fault, OpenVino, OpenVinoEndpoint)
