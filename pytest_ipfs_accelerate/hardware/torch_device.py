"""Torch on a device: the CPU, which is the reference, CUDA, and Apple's MPS. Nothing is exported."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..models.checkpoint import Checkpoint
from .base import Endpoint, Hardware, NotOnHardware, Tensors
from .outputs import flat_outputs, generated, leaf_tensors

if TYPE_CHECKING:
    from .export import Program

_PRECISIONS = {torch.float32: "fp32", torch.float16: "fp16", torch.bfloat16: "bf16"}


class TorchEndpoint(Endpoint):
    """A model in eager mode on a torch device."""

    def __init__(self, model: Any, device: torch.device, name: str) -> None:
        self.model = model
        self.torch_device = device
        self.device = name
        self.precision = _PRECISIONS[model.dtype]
        self._places: set[str] = set()

    @torch.no_grad()
    def forward(self, inputs: Mapping[str, Tensor]) -> Tensors:
        return flat_outputs(self._seen(self.model(**self._moved(inputs))))

    @torch.no_grad()
    def generate(self, inputs: Mapping[str, Tensor]) -> Tensors:
        options = {"return_dict_in_generate": True, "output_logits": True}
        steps: list[Tensor] = []

        def keep(model: Any, arguments: Any, step: Any) -> None:
            if (logits := getattr(step, "logits", None)) is not None:
                steps.append(logits[:, -1])

        hook = self.model.register_forward_hook(keep)
        try:
            outputs = self._seen(self.model.generate(**self._moved(inputs), **options))
        finally:
            hook.remove()
        if "logits" not in outputs:  # the generate of a transducer keeps none
            outputs = {"sequences": outputs["sequences"], "logits": steps}
        return generated(outputs)

    def _moved(self, inputs: Mapping[str, Tensor]) -> Tensors:
        return {name: tensor.to(self.torch_device) for name, tensor in inputs.items()}

    def _seen(self, outputs: Any) -> Any:
        """``outputs`` as they are, their devices noted before anything moves them."""
        self._places.update(tensor.device.type for _, tensor in leaf_tensors(outputs))
        return outputs

    def evidence(self) -> dict[str, Any]:
        parameters = {parameter.device.type for parameter in self.model.parameters()}
        places = parameters | self._places
        if places != {self.torch_device.type}:
            raise NotOnHardware(f"asked for {self.torch_device.type}, found tensors on {sorted(places)}")
        evidence: dict[str, Any] = {"parameters on": sorted(parameters), "outputs on": sorted(self._places)}
        if self.torch_device.type == "cuda":
            evidence["peak memory, bytes"] = torch.cuda.max_memory_allocated(self.torch_device)
        return evidence


class Cpu(Hardware):
    """Torch eager on the CPU, in fp32: the reference itself, so its parity says that the handler repeats it."""

    def lower(self, checkpoint: Checkpoint, program: Program | None) -> TorchEndpoint:
        return TorchEndpoint(copy.deepcopy(checkpoint.model), torch.device("cpu"), "cpu")


class Cuda(Hardware):
    """Torch eager on the first NVIDIA GPU, in fp32 with TF32 off."""

    def lower(self, checkpoint: Checkpoint, program: Program | None) -> TorchEndpoint:
        # TF32 keeps 10 bits of mantissa: an honest fp32 verdict has it off.
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False
        device = torch.device("cuda", 0)
        torch.cuda.reset_peak_memory_stats(device)
        model: Any = copy.deepcopy(checkpoint.model)
        model.to(device)
        return TorchEndpoint(model, device, torch.cuda.get_device_name(device))


class Apple(Hardware):
    """Torch eager on an Apple GPU through MPS, in fp32."""

    def lower(self, checkpoint: Checkpoint, program: Program | None) -> TorchEndpoint:
        model: Any = copy.deepcopy(checkpoint.model)
        return TorchEndpoint(model.to("mps"), torch.device("mps"), "Apple GPU (MPS)")
