"""torch.compile with its inductor backend, on the CPU: every forward as generated C++."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch._dynamo import config as dynamo_config
from torch._dynamo.utils import counters
from torch._inductor import metrics
from torch.nn import Embedding, Module
from transformers import PreTrainedModel
from transformers.utils.output_capturing import maybe_install_capturing_hooks

from ..models.checkpoint import Checkpoint
from ..words import plural
from .base import Endpoint, Hardware, NotOnHardware
from .torch_device import TorchEndpoint

if TYPE_CHECKING:
    from .export import Program
    from .intermediate import Call


RECOMPILATIONS = 32
"""How often one forward may be compiled anew: a cache that grows from nothing is new to it in the first steps."""


class InductorEndpoint(TorchEndpoint):
    """A model whose forward is compiled as one graph for each set of shapes that it does not generalise over, and so is that of
    every module in it: a generation calls an encoder or a projection by itself. What torch cannot trace runs eagerly, and only
    where fallback is allowed; every module with parameters of its own notes when it does."""

    def __init__(self, model: Any, *, allow_fallback: bool) -> None:
        super().__init__(model, torch.device("cpu"), f"inductor on the CPU, {torch.backends.cpu.get_cpu_capability()}")
        self.allow_fallback = allow_fallback
        # Counters and compiled code of an earlier case are none of this one's.
        torch._dynamo.reset()
        counters.clear()
        metrics.reset()
        # Without this, what is compiled for the ninth time runs eagerly, without a word.
        dynamo_config.fail_on_recompile_limit_hit = True
        dynamo_config.recompile_limit = RECOMPILATIONS
        self.eager: set[str] = set()
        for name, module in model.named_modules():
            # A table is looked up: what a generation embeds by itself is no computation.
            if next(module.parameters(recurse=False), None) is not None and not isinstance(module, Embedding):
                module.register_forward_pre_hook(_noting(name, self.eager))
        for part in model.modules():
            if isinstance(part, PreTrainedModel):
                # Installed at the first call that captures layers, under a lock, which dynamo cannot trace.
                maybe_install_capturing_hooks(part)
            if _called_alone(part):
                # One that another calls is traced into the graph of that one.
                part.forward = torch.compile(
                    part.forward, backend="inductor", dynamic=True, fullgraph=not allow_fallback
                )

    def parts(self, reference: Any, run: Callable[[Endpoint], object]) -> Iterator[Call]:
        raise NotImplementedError("what is compiled as one graph has no layers between which one could look")

    def evidence(self) -> dict[str, Any]:
        graphs, operators = counters["stats"]["unique_graphs"], counters["stats"]["calls_captured"]
        kernels, cached = metrics.generated_kernel_count, counters["inductor"]["fxgraph_cache_hit"]
        if not graphs or not (kernels or cached):
            raise NotOnHardware(
                f"inductor compiled {graphs} graphs to {kernels} kernels, and found {cached} in its cache"
            )
        breaks = sum(counters["graph_break"].values())
        if breaks and not self.allow_fallback:
            raise NotOnHardware(f"{breaks} breaks in the graph: what lies between its parts ran eagerly")
        if self.eager and not self.allow_fallback:
            names = ", ".join(sorted(self.eager)[:3])
            raise NotOnHardware(f"{plural(len(self.eager), 'module')} ran eagerly: {names}")
        found = {
            **super().evidence(),
            "graphs": graphs,
            "operators": operators,
            "kernels generated": kernels,
            "graphs from the cache": cached,
        }
        if breaks:
            found["graph breaks"] = dict(counters["graph_break"])
        if self.eager:
            found["modules that ran eagerly"] = sorted(self.eager)
        if breaks or self.eager:
            found["fallback"] = {"breaks in a graph": breaks, "modules that ran eagerly": len(self.eager)}
        return found


def _called_alone(module: Module) -> bool:
    """Whether a module computes, and is called: a list of modules is not. A generation projects features by itself, say."""
    called = type(module).forward is not Module.forward
    return called and not isinstance(module, Embedding) and next(module.parameters(), None) is not None


def _noting(name: str, eager: set[str]) -> Callable[[Module, Any], None]:
    """A hook that notes the module's name where its call is not part of what torch traces."""

    def note(module: Module, arguments: Any) -> None:
        if not torch.compiler.is_compiling():
            eager.add(name)

    return note


class Inductor(Hardware):
    """The checkpoint's model through torch.compile, in fp32."""

    def lower(self, checkpoint: Checkpoint, program: Program | None) -> InductorEndpoint:
        return InductorEndpoint(copy.deepcopy(checkpoint.model), allow_fallback=self.allow_fallback)
