"""Torch on a device: the CPU, which is the reference, CUDA, and Apple's MPS. Nothing is exported."""

from __future__ import annotations

import copy
import gc
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ..models.checkpoint import Checkpoint
from ..words import plural
from .base import Endpoint, Hardware, NotOnHardware, Tensors
from .intermediate import Call, hooked, layer_calls
from .outputs import flat_outputs, generated, leaf_tensors, step_logits
from .probes import nvidia_driver
from .steps import watched

if TYPE_CHECKING:
    from .export import Program

_DTYPES = {"fp64": torch.float64, "fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
_PRECISIONS = {dtype: precision for precision, dtype in _DTYPES.items()}


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
        with step_logits(self.model) as steps, watched(self.model, self._settle) as watch:
            outputs = self._seen(self.model.generate(**self._moved(inputs), **options))
        found = generated(outputs, steps)
        self.generation = watch.generation(found)
        return found

    def _moved(self, inputs: Mapping[str, Tensor]) -> Tensors:
        moved = {name: tensor.to(self.torch_device) for name, tensor in inputs.items()}
        return {
            name: tensor.to(self.model.dtype) if tensor.is_floating_point() else tensor
            for name, tensor in moved.items()
        }

    def _seen(self, outputs: Any) -> Any:
        """``outputs`` as they are, their devices noted before anything moves them, and computed, not only queued: the time of
        a call is that of its work."""
        self._settle()
        self._places.update(tensor.device.type for _, tensor in leaf_tensors(outputs))
        return outputs

    def device_peak(self, *, restart: bool = False) -> int | None:
        if self.torch_device.type != "cuda":
            return None
        most = torch.cuda.max_memory_allocated(self.torch_device)
        if restart:
            torch.cuda.reset_peak_memory_stats(self.torch_device)
        return most

    def _settle(self) -> None:
        """Wait until the device has done all that it was given."""
        if self.torch_device.type == "cuda":
            torch.cuda.synchronize(self.torch_device)
        elif self.torch_device.type == "mps":
            torch.mps.synchronize()

    def parts(self, reference: Any, run: Callable[[Endpoint], object]) -> Iterator[Call]:
        with hooked(self.model) as here:
            run(self)
        with hooked(reference.model) as there:
            run(reference)
        yield from layer_calls(here, there)

    def evidence(self) -> dict[str, Any]:
        parameters = {parameter.device.type for parameter in self.model.parameters()}
        places = parameters | self._places
        if places != {self.torch_device.type}:
            raise NotOnHardware(f"asked for {self.torch_device.type}, found tensors on {sorted(places)}")
        found = {parameter.dtype for parameter in self.model.parameters() if parameter.is_floating_point()}
        evidence: dict[str, Any] = {
            "parameters on": sorted(parameters),
            "parameters in": sorted(_PRECISIONS.get(dtype, str(dtype)) for dtype in found),
            "outputs on": sorted(self._places),
        }
        if self.torch_device.type == "cuda":
            evidence["peak memory, bytes"] = torch.cuda.max_memory_allocated(self.torch_device)
            evidence["runtime"] = f"HIP {torch.version.hip}" if torch.version.hip else f"CUDA {torch.version.cuda}"
            evidence["driver"] = nvidia_driver()
        return evidence


def cast(model: nn.Module, dtype: torch.dtype) -> nn.Module:
    """The model with its real numbers in ``dtype``. ``Module.to`` makes real numbers of complex ones, too, such as llama4's
    rotations, and leaves their imaginary part out."""
    model._apply(lambda tensor: tensor.to(dtype) if tensor.is_floating_point() else tensor)  # type: ignore[no-untyped-call]
    return model


class TorchHardware(Hardware):
    """Torch eager in the precision that is asked for, fp32 where none is."""

    def lower(self, checkpoint: Checkpoint, program: Program | None) -> TorchEndpoint:
        model: Any = copy.deepcopy(checkpoint.model)
        device, name = self.place()
        return TorchEndpoint(cast(model.to(device), _DTYPES[self.precision or "fp32"]), device, name)

    @abstractmethod
    def place(self) -> tuple[torch.device, str]:
        """The device, and its name.

        Raises:
            NotOnHardware: there is no such device.
        """


class Cpu(TorchHardware):
    """Torch eager on the CPU. In fp32 it is the reference itself, so that its parity says that the handler repeats it."""

    def place(self) -> tuple[torch.device, str]:
        return torch.device("cpu"), "cpu"


class Cuda(TorchHardware):
    """Torch eager on an NVIDIA GPU: the first, or the one of the number asked for. TF32 is off."""

    def place(self) -> tuple[torch.device, str]:
        # TF32 keeps 10 bits of mantissa: an honest fp32 verdict has it off.
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False
        index, count = int(self.device or 0), torch.cuda.device_count()
        if index >= count:
            raise NotOnHardware(f"cuda:{index} was asked for; torch sees {plural(count, 'GPU')}")
        device = torch.device("cuda", index)
        # What an earlier case held is handed back, one that ran out of memory above all.
        gc.collect()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
        return device, torch.cuda.get_device_name(device)


class Mps(TorchHardware):
    """Torch eager on an Apple GPU through MPS."""

    def place(self) -> tuple[torch.device, str]:
        return torch.device("mps"), "Apple GPU (MPS)"


class Rocm(Cuda):
    """Torch eager on an AMD GPU, which torch's build for ROCm calls ``cuda``."""

    def place(self) -> tuple[torch.device, str]:
        if not torch.version.hip:
            raise NotOnHardware(f"torch {torch.__version__} is not built for ROCm")
        return super().place()
