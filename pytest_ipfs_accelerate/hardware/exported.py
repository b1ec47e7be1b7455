"""What the hardware that run an exported program share: an endpoint over one runner a component."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from torch import Tensor
from transformers.exporters.runners.base import ModelRunner
from transformers.exporters.utils import precompute_export_inputs

from .base import CLOSED, Endpoint, NotOnHardware, Tensors
from .component_calls import Record, recorded
from .export import WHOLE, Program
from .generate import Driver, left_to_torch
from .intermediate import Call
from .operators import EVALUATOR, PLAIN, GraphCall, Part
from .outputs import flat_outputs
from .placement import fallback
from .steps import watched

if TYPE_CHECKING:
    from .export_torch import TorchProgram


class ExportedEndpoint(Endpoint):
    """An exported program on one runtime. A program of one graph is called; one of several is driven through the model's
    own code, whose replaced parameters are NaN."""

    settled: ClassVar[bool] = True
    """Whether opening a component settles on which device each of its nodes runs."""
    witnesses: ClassVar[tuple[str, ...]] = (PLAIN, EVALUATOR)
    """Who says what a graph gives, where this runtime is under suspicion: others than itself, the most trusted first."""

    def __init__(self, program: Program | TorchProgram, *, allow_fallback: bool = False) -> None:
        self.program: Any = program
        self.allow_fallback = allow_fallback
        self._evidence: dict[str, dict[str, Any]] = {}
        self.runners = {name: self.open(name, component) for name, component in program.components.items()}
        modules = {name: component.module for name, component in program.components.items()}
        self.driver = None if program.whole else Driver(program.checkpoint.model, self.runners, modules)
        self.calls = 0

    @abstractmethod
    def open(self, name: str, component: Any) -> ModelRunner:
        """The runner of one component of the program on this runtime."""

    @abstractmethod
    def component_evidence(self, runner: Any) -> dict[str, Any]:
        """What proves that one component ran here.

        Raises:
            NotOnHardware: it did not.
        """

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensors:
        if self.driver is not None:
            return flat_outputs(self.driver.forward(inputs))
        runner = self.runners[WHOLE]
        arguments = dict(inputs)
        precompute_export_inputs(self.program.checkpoint.model, arguments)
        self.calls += 1
        taken: dict[str, Any] = {name: value for name, value in arguments.items() if name in runner.metadata.kwargs}
        return flat_outputs(runner(share_inputs=False, **taken))

    def generate(self, inputs: Mapping[str, Tensor]) -> Tensors:
        assert self.driver is not None, "a generation is exported in stages"
        with watched(self.driver.model) as watch:
            found = self.driver.generate(inputs)
        self.generation = watch.generation(found)
        return found

    def parts(self, reference: Any, run: Callable[[Endpoint], object]) -> Iterator[Call]:
        own = reference.runners if isinstance(reference, ExportedEndpoint) else {}
        with recorded(self.runners) as records:
            run(self)
        for record in records:
            yield self.part(record, own.get(record.component))

    def part(self, record: Record, reference: ModelRunner | None) -> Call:
        """One call of a component, for :meth:`parts`; ``reference`` is the runner that it is held against where that is not
        torch's module.

        Raises:
            NotImplementedError: this hardware lets nobody look inside.
        """
        if not isinstance(self.program, Program):
            raise NotImplementedError(CLOSED.format(type(self).__name__))
        component = self.program.components[record.component]
        module = self.program.checkpoint.model.get_submodule(component.module)
        return GraphCall(Part(record.component, component, module, self.open, reference), record, self.witnesses)

    def evidence(self) -> dict[str, Any]:
        calls = dict(self.driver.calls) if self.driver is not None else {WHOLE: self.calls}
        if never := sorted(name for name in self.runners if not calls.get(name)):
            raise NotOnHardware(f"components that were exported and never called: {', '.join(never)}")
        evidence: dict[str, Any] = {"calls": calls, "components": self.components_evidence()}
        by_torch = 0
        if self.driver is not None:
            left, by_torch = left_to_torch(self.driver.model, allow_fallback=self.allow_fallback)
            evidence["parameters left to torch"] = left
        if elsewhere := fallback(evidence["components"].values(), by_torch):
            evidence["fallback"] = elsewhere
        if self.program.notes:
            evidence["notes"] = list(self.program.notes)
        return evidence

    def components_evidence(self) -> dict[str, Any]:
        """The evidence of each component, read once where opening it settles where its nodes run."""
        for name, runner in self.runners.items():
            if not self.settled or name not in self._evidence:
                self._evidence[name] = self.component_evidence(runner)
        return dict(self._evidence)
