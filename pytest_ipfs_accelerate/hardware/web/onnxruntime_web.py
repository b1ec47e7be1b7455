"""ONNX Runtime Web in a headless browser: WebAssembly on the CPU, or WebGPU on what the browser has for one."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Mapping
from functools import cached_property
from typing import Any, ClassVar

import onnx
import torch
from torch import Tensor
from transformers.exporters.metadata import ExportMetadata
from transformers.exporters.runners.base import ModelRunner
from transformers.exporters.utils import onnx_inputs

from ...models.checkpoint import Checkpoint
from ...verdict import Implementation
from ..base import Endpoint, Hardware, NotOnHardware
from ..export import Component, Program
from ..exported import ExportedEndpoint
from ..onnxruntime import weights_in_fp32
from ..operators import EVALUATOR, PLAIN
from ..placement import placed
from .placements import CPU, Placements, integer_nodes, read_placements
from .runtime import Opened, WebRuntime

PROVIDERS = {"wasm": CPU, "webgpu": "WebGpuExecutionProvider"}
"""The provider on which nodes belong, as ONNX Runtime logs it: WebAssembly is its CPU."""


Sizes = tuple[tuple[str, int], ...]
SESSION_BYTES = 256 * 2**20
"""How large the models of the open sessions of one component may be together: a page has 4 GiB, and each holds its weights."""


class WebRunner(ModelRunner):
    """One component in the page. On WebGPU a session for each combination of input shapes: with these fixed, what computes
    shapes is folded away, and would run on the CPU otherwise."""

    def __init__(self, runtime: WebRuntime, model: bytes, metadata: ExportMetadata, *, static: bool) -> None:
        super().__init__(metadata)
        self.runtime = runtime
        self.model = model
        self.static = static
        graph = onnx.load_from_string(model).graph
        self._inputs = {value.name: value.type.tensor_type.shape.dim for value in graph.input}
        self.output_names = [value.name for value in graph.output]
        self.placements: dict[Sizes, Placements] = {}
        self.dispatches: list[int] = []
        self._sessions: OrderedDict[Sizes, Opened] = OrderedDict()

    @property
    def device(self) -> torch.device:
        return torch.device("cpu")

    @classmethod
    def from_program(cls, program: Any, metadata: ExportMetadata, device: Any = None) -> WebRunner:
        return cls(WebRuntime("wasm", 1), program, metadata, static=False)

    def __call__(self, share_inputs: bool = True, share_outputs: bool = False, **kwargs: Any) -> Any:
        feeds = onnx_inputs(list(self._inputs), kwargs)
        outputs, dispatches = self.runtime.run(self._session(feeds), feeds)
        self.dispatches.append(dispatches)
        return self.unflatten([outputs[name] for name in self.output_names])

    def _session(self, feeds: Mapping[str, Tensor]) -> Opened:
        sizes = {
            dimension.dim_param: size
            for name, dimensions in self._inputs.items()
            for dimension, size in zip(dimensions, feeds[name].shape, strict=True)
            if dimension.dim_param and self.static
        }
        key = tuple(sorted(sizes.items()))
        if key not in self._sessions:
            self._sessions[key] = opened = self.runtime.open(self.model, sizes)
            self.placements[key] = read_placements(opened.log)
            # The new one first: with its last session ONNX Runtime destroys the device.
            while len(self._sessions) > max(1, SESSION_BYTES // len(self.model)):
                self.runtime.release(self._sessions.popitem(last=False)[1])
        self._sessions.move_to_end(key)
        return self._sessions[key]


class WebEndpoint(ExportedEndpoint):
    """A program in ONNX Runtime Web, in fp32: on one execution provider, in the page of one browser."""

    precision = "fp32"
    settled = False  # a session opens with the first inputs of its shapes
    witnesses = (EVALUATOR, PLAIN)

    def __init__(
        self,
        program: Program,
        threads: int = 1,
        provider: str = "wasm",
        device: str = "",
        *,
        allow_fallback: bool = False,
    ) -> None:
        self.provider = provider
        self.runtime = WebRuntime(provider, threads, device)
        adapter = self.runtime.adapter
        if adapter is not None and adapter.software:
            # Everything but the GPU is real: whoever reads a report must not take it for one.
            self.implementation = Implementation.SIMULATOR
        self.device = f"{adapter.name}, {self.runtime.browser.version}" if adapter else self.runtime.browser.version
        super().__init__(program, allow_fallback=allow_fallback)

    def open(self, name: str, component: Component) -> WebRunner:
        return WebRunner(self.runtime, component.onnx, component.metadata, static=self.provider == "webgpu")

    def evidence(self) -> dict[str, Any]:
        found = {
            **super().evidence(),
            "weights by precision": self.weights,
            "libraries": self.runtime.description,
            "execution provider": self.provider,
        }
        if self.runtime.adapter is None:
            return found | {"threads": self.runtime.threads}
        device = self.runtime.device()
        if device is None or device != self.runtime.adapter:
            raise NotOnHardware(f"the browser offers {self.runtime.adapter}; ONNX Runtime Web computed on {device}")
        return found | {"adapter": dict(device.described)}

    @cached_property
    def weights(self) -> dict[str, int]:
        return weights_in_fp32(self.program)

    def component_evidence(self, runner: WebRunner) -> dict[str, Any]:
        nodes: Counter[str] = Counter()
        integers = 0
        fallen: dict[str, None] = {}
        exempt = integer_nodes(runner.model) if self.provider == "webgpu" else frozenset()
        for placements in runner.placements.values():
            nodes.update(placements.counts)
            if self.provider == "webgpu":
                on_cpu = placements.names.get(CPU, ())
                fallen |= dict.fromkeys(node for node in on_cpu if node not in exempt)
                exempted = sum(node in exempt for node in on_cpu)
                nodes[CPU] -= exempted
                integers += exempted
        try:
            found = placed(+nodes, PROVIDERS[self.provider], allow_fallback=self.allow_fallback)
        except NotOnHardware as error:
            raise NotOnHardware(f"{error}: {', '.join([*fallen][:3])}" if fallen else str(error)) from None
        if self.provider == "wasm":
            return found
        if not all(runner.dispatches):
            raise NotOnHardware("a run gave the GPU nothing to do")
        return {
            **found,
            "integer nodes on the CPU": integers,
            "sessions": len(runner.placements),
            "dispatches to the GPU": sum(runner.dispatches),
        }


class OnnxRuntimeWeb(Hardware):
    """The exported ONNX graphs in ONNX Runtime Web, on one execution provider."""

    format = "onnx"
    provider: ClassVar[str]

    def lower(self, checkpoint: Checkpoint, program: Program | None) -> Endpoint:
        assert program is not None, "this hardware reads an exported program"
        return WebEndpoint(program, self.threads, self.provider, self.device, allow_fallback=self.allow_fallback)


class Wasm(OnnxRuntimeWeb):
    """WebAssembly: the CPU, from within a browser."""

    provider = "wasm"


class WebGpu(OnnxRuntimeWeb):
    """WebGPU: a GPU from within a browser, or the CPU that plays one, which is called so."""

    provider = "webgpu"
