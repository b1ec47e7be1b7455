"""ExecuTorch: programs of which XNNPACK computes the nodes that it takes, and ExecuTorch's own kernels the rest."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from typing import Any

import torch
from executorch.extension.pybindings.portable_lib import _threadpool_get_thread_count, _unsafe_reset_threadpool
from transformers.exporters.metadata import ExportMetadata
from transformers.exporters.runners.base import ModelRunner

from ..models.checkpoint import Checkpoint
from ..store import Store
from ..words import plural
from .base import Endpoint, Hardware, NotOnHardware
from .component_calls import Record
from .executorch_calls import ExecutorchCall
from .executorch_program import Free, LoweringFault, lowered
from .executorch_runtime import Loaded
from .export_torch import Call, TorchComponent, TorchProgram, flat_call
from .exported import ExportedEndpoint
from .pte import XNNPACK, Contents

Shapes = Sequence[tuple[int, ...]]
"""The shape of each tensor of a call."""

WHOLE_FLOATS = ("fp32", "fp64")
"""The precisions of the numbers of a program in fp32: a model may ask for more in places."""


class ExecutorchRunner(ModelRunner):
    """One component: a program for each combination of input sizes, lowered when the first such inputs come.

    A component that ``grows``, whose cache is longer at every step, is lowered the second time for any size along the axes in
    which its calls have differed: some seconds once, and not at every step. Where that cannot be, for each size apart."""

    device = torch.device("cpu")

    def __init__(self, component: TorchComponent, key: str, store: Store | None, *, grows: bool = False) -> None:
        self.metadata = component.metadata
        self.component = component
        self.key = key
        self.store = store
        self.grows = grows
        self.programs: list[Loaded] = []
        self.apart = ""
        """Why a component that grows is lowered for each size apart, where it is."""
        self._forms: dict[str, list[tuple[Shapes, Loaded]]] = defaultdict(list)

    @classmethod
    def from_program(cls, program: Any, metadata: ExportMetadata, device: Any = None) -> ExecutorchRunner:
        return cls(program, "", None)

    def __call__(self, share_inputs: bool = True, share_outputs: bool = False, **kwargs: Any) -> Any:
        call = flat_call(self.component, kwargs)
        shapes = [tuple(tensor.shape) for tensor in call.tensors]
        alike = self._forms[_form(call)]
        for _, loaded in alike:
            if loaded.made.sizes.take(call.tensors):
                return loaded.run(call.tensors)
        loaded = self._loaded(call, differing(shapes, [earlier for earlier, _ in alike]) if self.grows else [])
        alike.append((shapes, loaded))
        self.programs.append(loaded)
        return loaded.run(call.tensors)

    def _loaded(self, call: Call, free: Free) -> Loaded:
        if any(free) and not self.apart:
            try:
                return Loaded(lowered(self.component, call, free, self.key, self.store))
            except LoweringFault as fault:
                self.apart = str(fault)
        return Loaded(lowered(self.component, call, [], self.key, self.store))


def _form(call: Call) -> str:
    """What two calls share that differ in nothing but sizes."""
    spec, leaves = json.loads(call.described)
    return json.dumps([spec, [leaf if isinstance(leaf, str) else [leaf[0], len(leaf[1])] for leaf in leaves]])


def differing(shapes: Shapes, earlier: Sequence[Shapes]) -> list[list[int]]:
    """For each tensor of a call, the axes in which it differs from those of earlier calls; none where one of these now has a
    size of 0 or 1, which torch.export takes for a constant."""
    axes = [
        [axis for axis, size in enumerate(shape) if any(other[index][axis] != size for other in earlier)]
        for index, shape in enumerate(shapes)
    ]
    sizes = [shape[axis] for shape, some in zip(shapes, axes, strict=True) for axis in some]
    return axes if all(size > 1 for size in sizes) else []


class ExecutorchEndpoint(ExportedEndpoint):
    """A program in ExecuTorch's runtime. It runs each node or refuses to load the program: there is nothing behind it to which
    a node could fall back. What is in a program is read from its bytes."""

    settled = False  # a program is lowered with the first inputs of its shapes
    device = "XNNPACK on the CPU"
    precision = "fp32"

    def __init__(self, program: TorchProgram, threads: int, store: Store | None, *, allow_fallback: bool) -> None:
        self.threads = threads
        self.key = program.key
        self.store = store
        # One pool a process. A program that is loaded holds on to the pool that it was loaded with, so that one that has the
        # right size is left alone.
        if _threadpool_get_thread_count() != threads:
            _unsafe_reset_threadpool(threads)
        super().__init__(program, allow_fallback=allow_fallback)

    def open(self, name: str, component: Any) -> ExecutorchRunner:
        return ExecutorchRunner(component, f"{self.key} {name}", self.store, grows=name == "decode")

    def part(self, record: Record, reference: ModelRunner | None) -> ExecutorchCall:
        runner: Any = self.runners[record.component]
        return ExecutorchCall(record, runner.component)

    def component_evidence(self, runner: ExecutorchRunner) -> dict[str, Any]:
        found = Contents(Counter(), Counter(), Counter(), Counter())
        for program in runner.programs:
            found.nodes.update(program.contents.nodes)
            found.kernels.update(program.contents.kernels)
            found.delegates.update(program.contents.delegates)
            found.precisions.update(program.contents.precisions)
        if elsewhere := {name: count for name, count in found.delegates.items() if name != XNNPACK}:
            raise NotOnHardware(f"calls by delegate: {elsewhere}; all of them belong to {XNNPACK}")
        if any(name not in WHOLE_FLOATS for name in found.precisions):
            raise NotOnHardware(f"fp32 was asked for; tensors by precision are {dict(found.precisions)}")
        programs: list[dict[str, Any]] = []
        for program in runner.programs:
            made = program.made
            programs.append(
                {"cid": made.cid, "kept": made.kept, **({"sizes": ranges} if (ranges := made.sizes.ranges) else {})}
            )
        return {
            "programs": programs,
            **({"each size apart": runner.apart} if runner.apart else {}),
            "nodes delegated to XNNPACK": dict(sorted(found.nodes.items())),
            "calls of the delegate": found.delegates[XNNPACK],
            "kernels of ExecuTorch": dict(sorted(found.kernels.items())),
            "tensors by precision": dict(found.precisions),
        }

    def warnings(self) -> list[str]:
        runners: Iterable[Any] = self.runners.values()
        return [each.made.warning for runner in runners for each in runner.programs if each.made.warning]

    def evidence(self) -> dict[str, Any]:
        found = super().evidence()
        parts = found["components"].values()
        delegated = sum(sum(part["nodes delegated to XNNPACK"].values()) for part in parts)
        kernels = sum(sum(part["kernels of ExecuTorch"].values()) for part in parts)
        if not delegated:
            raise NotOnHardware(f"XNNPACK has none of the nodes; ExecuTorch's own kernels have {kernels}")
        if (threads := _threadpool_get_thread_count()) != self.threads:
            raise NotOnHardware(f"{plural(self.threads, 'thread')} was asked for; the runtime has {threads}")
        return {
            "executorch": version("executorch"),
            "threads": threads,
            "nodes": {"XNNPACK": delegated, "ExecuTorch's own kernels": kernels},
            **found,
        }


class Executorch(Hardware):
    """The components of a checkpoint as ExecuTorch programs for XNNPACK, in fp32."""

    format = "torch"

    def lower(self, checkpoint: Checkpoint, program: Any) -> Endpoint:
        assert program is not None, "this hardware reads an exported program"
        if self.precision not in ("", "fp32"):
            raise NotOnHardware(f"XNNPACK is run in fp32 alone, not in {self.precision}")
        return ExecutorchEndpoint(program, self.threads, self.store, allow_fallback=self.allow_fallback)
