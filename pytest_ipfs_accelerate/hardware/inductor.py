"""torch.compile with its inductor backend, on the CPU: every forward as generated C++."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch._dynamo import config as dynamo_config
from torch._dynamo.utils import counters
from torch._inductor import metrics

from ..models.checkpoint import Checkpoint
from .base import Endpoint, Hardware, NotOnHardware
from .torch_device import TorchEndpoint

if TYPE_CHECKING:
    from .export import Program
    from .intermediate import Call


RECOMPILATIONS = 32
"""How often one forward may be compiled anew: a cache that grows from nothing is new to it in the first steps."""


class InductorEndpoint(TorchEndpoint):
    """A model whose forward is compiled as one graph for each set of shapes that it does not generalise over. What torch cannot
    trace runs eagerly, and only where fallback is allowed."""

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
        model.forward = torch.compile(model.forward, backend="inductor", dynamic=True, fullgraph=not allow_fallback)

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
        found = {
            **super().evidence(),
            "graphs": graphs,
            "operators": operators,
            "kernels generated": kernels,
            "graphs from the cache": cached,
        }
        return {**found, "graph breaks": dict(counters["graph_break"])} if breaks else found


class Inductor(Hardware):
    """The checkpoint's model through torch.compile, in fp32."""

    def lower(self, checkpoint: Checkpoint, program: Program | None) -> InductorEndpoint:
        return InductorEndpoint(copy.deepcopy(checkpoint.model), allow_fallback=self.allow_fallback)
