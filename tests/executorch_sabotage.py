"""ExecuTorch broken on purpose, one fault each, by import path; apart from ``sabotage``, since it needs executorch."""

from __future__ import annotations

import copy
import functools
from dataclasses import replace
from typing import Any

import torch
from sabotage import Constant, Maskless, RowMixing, Scaled, broken

from pytest_ipfs_accelerate.hardware import executorch_program
from pytest_ipfs_accelerate.hardware.executorch import Executorch, ExecutorchEndpoint
from pytest_ipfs_accelerate.hardware.export_torch import _component


class _Endpoint(ExecutorchEndpoint):
    """The same, made with the arguments that every endpoint of ``broken`` gets; its store is that of its hardware."""

    kept: Any = None

    def __init__(self, program: Any, threads: int) -> None:
        super().__init__(program, threads, _Endpoint.kept, allow_fallback=False)


class _Hardware(Executorch):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        _Endpoint.kept = self.store


ScaledExecutorch = broken(Scaled, _Hardware, _Endpoint)
MasklessExecutorch = broken(Maskless, _Hardware, _Endpoint)
ConstantExecutorch = broken(Constant, _Hardware, _Endpoint)
RowMixingExecutorch = broken(RowMixing, _Hardware, _Endpoint)


class _Unkept(Executorch):
    """What a broken one lowers is kept from those that are whole."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{**options, "store": None})


class HalvedExecutorch(_Unkept):
    """Its first matrix gives fp16."""

    def lower(self, checkpoint: Any, program: Any) -> Any:
        (name, component) = next(iter(program.components.items()))
        model = copy.deepcopy(component.model)
        matrix = next(module for module in model.modules() if type(module).__name__ == "Linear")
        matrix.register_forward_hook(lambda module, arguments, output: output.half().float())
        return super().lower(checkpoint, replace(program, components={name: replace(component, model=model)}))


class UndelegatedExecutorch(_Unkept):
    """XNNPACK is given nothing, without a word: ExecuTorch's own kernels compute it all, and rightly."""

    def lower(self, checkpoint: Any, program: Any) -> Any:
        endpoint = super().lower(checkpoint, program)
        plain, lowering = endpoint.forward, executorch_program.to_edge_transform_and_lower

        def forward(inputs: Any) -> Any:
            executorch_program.to_edge_transform_and_lower = functools.partial(_undelegated, lowering)
            try:
                return plain(inputs)
            finally:
                executorch_program.to_edge_transform_and_lower = lowering

        endpoint.forward = forward
        return endpoint


def _undelegated(lowering: Any, program: Any, *, partitioner: Any, **options: Any) -> Any:
    return lowering(program, partitioner=[], **options)


class ElsewhereExecutorch(_Hardware):
    """The delegate of another backend has a part, as its program says."""

    def lower(self, checkpoint: Any, program: Any) -> Any:
        endpoint = super().lower(checkpoint, program)
        plain = endpoint.component_evidence

        def component_evidence(runner: Any) -> Any:
            for loaded in runner.programs:
                loaded.contents.delegates["OpenvinoBackend"] += 1
            return plain(runner)

        endpoint.component_evidence = component_evidence
        return endpoint


class OnlyTheHeadExecutorch(_Unkept):
    """Exports BERT's head, and leaves all below it to torch."""

    def lower(self, checkpoint: Any, program: Any) -> Any:
        hidden = torch.zeros(1, 4, checkpoint.model.config.hidden_size)
        head = _component(checkpoint.model, checkpoint.model.cls, "cls", {"sequence_output": hidden})
        return super().lower(checkpoint, replace(program, components={"cls": head}))
