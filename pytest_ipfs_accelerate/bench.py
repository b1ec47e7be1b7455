"""What cases of one host share: the checkpoint, its reference outputs and its exported programs, made once.

Cases arrive model by model and task by task, so a handful of each is enough, and memory stays bounded.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import torch
from torch import Tensor

from .handlers import Handler
from .hardware.torch_device import Cpu
from .matrix import Case
from .models.checkpoint import Checkpoint, build_checkpoint
from .models.hub import fingerprint
from .parity import TOLERANCES, Tolerance, compare_rows, faults_of, relative_l2
from .results import HandlerResult
from .specs import Recipe
from .store import Damaged, Missing, Store
from .tasks.base import Task

if TYPE_CHECKING:
    from .hardware.export import Program
    from .hardware.export_torch import TorchProgram

Value = TypeVar("Value")

SENSITIVITY = 1e-3
"""A relative change of the output below this, when one whole input is replaced, says that the input is not looked at: the
smallest measured on the four models is 0.2."""


class Recent(Generic[Value]):
    """The last few values that were made, by key. Of the last one asked for, ``reused`` says whether it was there already, and
    ``seconds`` how long it took to make it, now or then."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._values: OrderedDict[str, tuple[Value, float]] = OrderedDict()
        self.reused = False
        self.seconds = 0.0

    def get(self, key: str, make: Callable[[], Value]) -> Value:
        self.reused = key in self._values
        if not self.reused:
            began = time.perf_counter()
            made = make()
            self._values[key] = made, time.perf_counter() - began
        self._values.move_to_end(key)
        while len(self._values) > self._size:
            self._values.popitem(last=False)
        value, self.seconds = self._values[key]
        return value


@dataclass(frozen=True, slots=True, eq=False)
class Form:
    """One way of presenting the samples: the natural inputs and their tensors."""

    natural: Sequence[Any]
    encoded: Mapping[str, Tensor]


@dataclass(frozen=True, slots=True)
class Made:
    """Of an artifact: its CID, whether it was there already, and what was wrong with what was."""

    cid: str
    reused: bool
    warning: str = ""


class Fault(Exception):
    """A check of ours that failed, in words for a person."""


def checkpoint_key(recipe: Recipe) -> str:
    """Two recipes with this key build the same checkpoint, whatever the task. A directory may change between two cases."""
    state = fingerprint(recipe.checkpoint) if recipe.checkpoint is not None else ""
    parts = asdict(recipe) | {"category": "", "hub": "", "needs": (), "state": state}
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def program_key(
    recipe: Recipe, encoded: Mapping[str, Tensor], *, generates: bool, varying: Mapping[str, tuple[int, ...]]
) -> str:
    """Two checkpoints with this key export to the same program: along the axes of ``varying`` it takes any size, so only the
    sizes of the others count."""
    shape = [
        (name, str(tensor.dtype), [-1 if axis in varying[name] else size for axis, size in enumerate(tensor.shape)])
        for name, tensor in sorted(encoded.items())
    ]
    weights = recipe.checkpoint.digest if recipe.checkpoint is not None else ""
    parts = (recipe.model_class, recipe.config_class, recipe.config, recipe.seed, weights, generates, shape)
    generation = recipe.inputs.get("generation") if generates else None
    return hashlib.sha256(json.dumps([parts, generation], sort_keys=True, default=str).encode()).hexdigest()


def forms_of(task: Task) -> dict[str, Form]:
    """The samples in every form that is checked: ``unpadded``; ``altered``, of the same shape with other content, which a
    backend that remembers its first answer gets wrong; ``padded`` where the modality has padding; ``other``, the second
    sample alone; and ``batch``, both of them.

    A model that takes one input at a time (``single`` in the registry, with the reason) has a batch of one. A model whose
    output moves with padding by its nature (:attr:`Task.unpadded` says why) is given none; its batch holds two
    inputs of one length.
    """
    first, second = task.samples()
    encoded = task.encode([first])
    altered = dict(encoded)
    for name, variation in task.variations(encoded).items():
        altered[name] = variation[name]
    forms = {"unpadded": Form([first], encoded), "altered": Form([first], altered)}
    if (length := task.padding_length) is not None and ("padding_shifts" in task.options or not task.unpadded):
        forms["padded"] = Form([first], task.encode([first], length))
    if "single" in task.options:
        return forms | {"other": Form([second], task.encode([second])), "batch": forms["unpadded"]}
    if task.unpadded and not task.shares_text:
        batch = {name: torch.cat([encoded[name], altered[name]]) for name in encoded}
        return forms | {"other": forms["altered"], "batch": Form([first, first], batch)}
    return forms | {
        "other": Form([second], task.encode([second])),
        "batch": Form([first, second], task.encode([first, second])),
    }


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """What CPU fp32 eager gives for every form, and the proof that it is worth comparing with."""

    results: Mapping[str, HandlerResult]
    evidence: Mapping[str, Any]


def reference_of(case: Case, task: Task, forms: Mapping[str, Form]) -> Reference:
    """Run and check the reference.

    Raises:
        Fault: it is not finite, constant, not repeatable, ignores an input, or moves with padding or with its neighbours.
    """
    handler = Handler(case._replace(hardware="cpu"), task, Cpu().lower(task.checkpoint, None))
    results = {name: handler.handle(form.natural, form.encoded) for name, form in forms.items()}
    generation = handler.endpoint.generation  # of the last form, the batch
    tolerance = TOLERANCES["cpu", "fp32"]
    for name, result in results.items():
        if faults := faults_of(result.outputs):
            raise Fault(f"the reference of the {name} sample: {'; '.join(faults)}")
    _check_repeats(handler, forms["unpadded"], results["unpadded"])
    evidence: dict[str, Any] = {"sensitivity": _sensitivity(handler, forms["unpadded"])}
    if generation is not None:
        evidence["generation"] = generation.evidence()
    if task.unpadded:
        evidence["padding"] = f"moves the output: {task.unpadded}"
    elif "padded" in forms:
        _check_same(task, forms, results, "unpadded", "padded", tolerance)
        evidence["padding"] = "moves nothing"
    return Reference(results, evidence)


def _check_repeats(handler: Handler, form: Form, result: HandlerResult) -> None:
    again = handler.handle(form.natural, form.encoded)
    for name, tensor in result.outputs.items():
        if not torch.equal(tensor, again.outputs[name]):
            raise Fault(f"the reference gives other numbers for {name} when it runs again on the same input")


def _sensitivity(handler: Handler, form: Form) -> dict[str, float]:
    """For each input that holds content, the largest relative change of an output when that input alone is replaced."""
    before = handler.handle(form.natural, form.encoded).outputs
    found = {}
    for name, encoded in handler.task.variations(form.encoded).items():
        after = handler.handle(form.natural, encoded).outputs
        found[name] = max((_change(before[key], after[key]) for key in before), default=0.0)
        if found[name] < SENSITIVITY:
            raise Fault(f"the output does not depend on {name}: replaced, it moves the output by {found[name]:.1e}")
    return found


def _change(before: Tensor, after: Tensor) -> float:
    """The relative change of an output; one of another shape, or of other integers, has changed altogether."""
    if before.shape != after.shape:
        return 1.0
    if not before.is_floating_point():
        return float((before != after).double().mean()) if before.numel() else 0.0
    return relative_l2(before, after)


def _check_same(
    task: Task,
    forms: Mapping[str, Form],
    results: Mapping[str, HandlerResult],
    expected: str,
    actual: str,
    tolerance: Tolerance,
) -> None:
    rows = [task.rows(results[name].outputs, forms[name].encoded) for name in (expected, actual)]
    for comparison in compare_rows(rows[0], rows[1], tolerance, f"{expected} against {actual}"):
        if not comparison.ok:
            raise Fault(f"padding moves the reference: {comparison}")


class Bench:
    """The shared work of the cases of one host."""

    def __init__(self) -> None:
        self.checkpoints: Recent[Checkpoint] = Recent(2)
        self.references: Recent[Reference] = Recent(2)
        self.programs: Recent[tuple[Program, str, bool]] = Recent(3)
        self.export_seconds: float | None = None
        """How long the export of the last program took; ``None`` where none was exported, or an earlier run had done it."""

    def checkpoint(self, recipe: Recipe) -> Checkpoint:
        return self.checkpoints.get(checkpoint_key(recipe), lambda: build_checkpoint(recipe))

    def reference(self, case: Case, task: Task, forms: Mapping[str, Form]) -> Reference:
        key = f"{case.task} {checkpoint_key(task.checkpoint.recipe)}"
        return self.references.get(key, lambda: reference_of(case, task, forms))

    def program(self, task: Task, store: Store) -> tuple[Program, Made]:
        """The program of a task, and where it came from: exported now, or at an earlier time and kept."""
        # A transformers without exporters still runs on torch.
        from .hardware.artifacts import load_program, save_program, source_key
        from .hardware.export import export_program
        from .hardware.export_shapes import varying_axes

        # From a padded batch: torch.export takes a batch of one for the constant 1, and generate() drops a mask that is
        # all ones, so that the program would not read one.
        encoded, checkpoint = task.encode(list(task.samples())), task.checkpoint
        varying = varying_axes(encoded, [form.encoded for form in forms_of(task).values()])
        key = program_key(checkpoint.recipe, encoded, generates=task.generates, varying=varying)
        source = source_key(checkpoint, encoded, key)
        warning = ""

        def make() -> tuple[Program, str, bool]:
            nonlocal warning
            try:
                cid = store.find(source)
                return load_program(store, cid, checkpoint, encoded, generates=task.generates), cid, True
            except Damaged as damaged:
                warning = f"the artifact {damaged} in {store.root} was damaged; it is made again"
            except Missing:
                pass
            program = export_program(checkpoint, encoded, generates=task.generates, varying=varying)
            return program, save_program(store, program), False

        program, cid, kept = self.programs.get(key, make)
        self.export_seconds = None if kept else self.programs.seconds
        store.link(source, cid)
        return program, Made(cid, kept or self.programs.reused, warning)

    def torch_program(self, task: Task) -> TorchProgram:
        """The program of a task for hardware that exports its components itself, when it is called."""
        from .hardware.artifacts import source_key
        from .hardware.export_torch import torch_program

        self.export_seconds = None
        encoded, checkpoint = task.encode(list(task.samples())), task.checkpoint
        # Exported anew for every combination of shapes: no axis varies within a program.
        shared = program_key(checkpoint.recipe, encoded, generates=task.generates, varying=dict.fromkeys(encoded, ()))
        key = source_key(checkpoint, encoded, shared)
        return torch_program(checkpoint, encoded, generates=task.generates, key=key)
