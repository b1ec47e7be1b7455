"""ExecuTorch's runtime."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import version
from typing import Any

import torch
from executorch.runtime import Runtime
from transformers.exporters.metadata import ExportMetadata
from transformers.exporters.runners.base import ModelRunner

from .executorch_program import Lowered, LoweringFault, Sizes
from .pte import Contents, contents


class Loaded(ModelRunner):
    """One program in ExecuTorch's runtime."""

    device = torch.device("cpu")

    def __init__(self, made: Lowered) -> None:
        super().__init__(made.metadata)
        self.made = made
        self.contents: Contents = contents(made.pte)
        runtime = Runtime.get()
        if missing := sorted(set(self.contents.kernels) - runtime.operator_registry.operator_names):
            raise LoweringFault(f"ExecuTorch {version('executorch')} has no kernel {', '.join(missing)}")
        self.program = runtime.load_program(made.pte)
        self.method: Any = self.program.load_method("forward")

    @classmethod
    def from_program(cls, program: Any, metadata: ExportMetadata, device: Any = None) -> Loaded:
        return cls(Lowered(program, metadata, Sizes([], {}), False))

    def run(self, tensors: Iterable[torch.Tensor]) -> Any:
        """The model's output for the tensors of a call, in order. The runtime has read them and copied what it gives."""
        return self.unflatten(list(self.method.execute([tensor.detach().contiguous() for tensor in tensors])))

    def __call__(self, share_inputs: bool = True, share_outputs: bool = False, **kwargs: Any) -> Any:
        raise NotImplementedError
