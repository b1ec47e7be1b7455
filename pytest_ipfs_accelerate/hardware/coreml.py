"""Core ML: run by it on a Mac that has it; elsewhere converted, saved, read back, and evaluated op by op by MIL's semantics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import coremltools
import torch
from transformers.exporters.metadata import ExportMetadata
from transformers.exporters.runners.base import ModelRunner

from ..models.checkpoint import Checkpoint
from ..store import Store, cid_of
from ..verdict import Implementation
from .base import Endpoint, Hardware, NotOnHardware
from .component_calls import Record
from .coreml_convert import PRECISIONS, Converted, converted, whole
from .export_torch import Call, TorchComponent, TorchProgram, flat_call, structured
from .exported import ExportedEndpoint
from .mil import MilProgram
from .mil_calls import MilCall
from .probes import CORE_ML_EVALUATED


class MilRunner(ModelRunner):
    """One component: a program for each combination of input shapes, converted when the first such inputs come."""

    def __init__(self, component: TorchComponent, precision: str, key: str, store: Store | None) -> None:
        self.metadata = component.metadata
        self.component = component
        self.precision = precision
        self.key = key
        self.store = store
        self.programs: dict[str, tuple[Converted, MilProgram]] = {}

    @property
    def device(self) -> torch.device:
        return torch.device("cpu")

    @classmethod
    def from_program(cls, program: Any, metadata: ExportMetadata, device: Any = None) -> MilRunner:
        return cls(program, "fp32", "", None)

    def __call__(self, share_inputs: bool = True, share_outputs: bool = False, **kwargs: Any) -> Any:
        call = flat_call(self.component, kwargs)
        made, program = self.opened(call)
        given = program([_feed(tensor) for tensor in call.tensors if tensor.numel()])
        return structured(made.metadata, whole(made.outputs, given))

    def opened(self, call: Call) -> tuple[Converted, MilProgram]:
        """The program for the shapes of a call."""
        if call.described not in self.programs:
            made = converted(self.component, call, self.precision, self.key, self.store)
            self.programs[call.described] = made, MilProgram(made.spec, made.weights)
        return self.programs[call.described]


def _feed(tensor: torch.Tensor) -> Any:
    array = tensor.detach().cpu().numpy()
    return array.reshape(1) if array.ndim == 0 else array  # Core ML has no scalar inputs


class CoreMlEndpoint(ExportedEndpoint):
    """A program converted to Core ML and evaluated."""

    settled = False  # a program is converted with the first inputs of its shapes
    implementation = Implementation.CONVERTED
    device = CORE_ML_EVALUATED

    def __init__(self, program: TorchProgram, precision: str, store: Store | None, *, allow_fallback: bool) -> None:
        self.asked = precision
        self.key = program.key
        self.store = store
        super().__init__(program, allow_fallback=allow_fallback)

    @property
    def precision(self) -> str:  # type: ignore[override]
        """As the types of the programs' ops say."""
        found = self.precisions()
        return max(found, key=lambda name: found[name]) if found else self.asked

    def precisions(self) -> dict[str, int]:
        counts: Counter[str] = Counter()
        runners: Iterable[Any] = self.runners.values()
        for runner in runners:
            for _, program in runner.programs.values():
                counts.update(program.precisions)
        return dict(counts)

    def open(self, name: str, component: Any) -> MilRunner:
        return MilRunner(component, self.asked, f"{self.key} {name}", self.store)

    def part(self, record: Record, reference: ModelRunner | None) -> MilCall:
        runner: Any = self.runners[record.component]
        return MilCall(record, runner)

    def component_evidence(self, runner: MilRunner) -> dict[str, Any]:
        by_mil: Counter[str] = Counter()
        by_ours: Counter[str] = Counter()
        precisions: Counter[str] = Counter()
        registered: Counter[str] = Counter()
        for made, program in runner.programs.values():
            by_mil.update(program.by_mil)
            by_ours.update(program.by_ours)
            precisions.update(program.precisions)
            registered.update(made.registered)
        wrong = {name: count for name, count in precisions.items() if name != self.asked}
        if wrong:
            raise NotOnHardware(f"{self.asked} was asked for; ops by precision are {dict(precisions)}")
        return {
            "programs": [
                {"cid": made.cid, "weights": cid_of(made.weights), "kept": made.kept}
                for made, _ in runner.programs.values()
            ],
            "ops by MIL's value inference": dict(sorted(by_mil.items())),
            "ops by our evaluation": dict(sorted(by_ours.items())),
            "ops by precision": dict(precisions),
            "translated by our registrations": dict(registered),
        }

    def warnings(self) -> list[str]:
        runners: Iterable[Any] = self.runners.values()
        return [made.warning for runner in runners for made, _ in runner.programs.values() if made.warning]

    def evidence(self) -> dict[str, Any]:
        return {"coremltools": coremltools.__version__, "Core ML ran": False, **super().evidence()}


class CoreMl(Hardware):
    """Core ML converted, and evaluated by MIL's semantics."""

    format = "torch"

    def lower(self, checkpoint: Checkpoint, program: Any) -> Endpoint:
        assert program is not None, "this hardware reads an exported program"
        if self.precision not in ("", *PRECISIONS):
            raise NotOnHardware(f"Core ML has no {self.precision}")
        return CoreMlEndpoint(program, self.precision or "fp32", self.store, allow_fallback=self.allow_fallback)
