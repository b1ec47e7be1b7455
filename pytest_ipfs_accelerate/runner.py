"""One case through its stages, inside the host process. The only room that knows both tasks and hardware."""

from __future__ import annotations

import re
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

from .bench import Fault, Form, Reference, forms_of
from .comparing import against_reference, raw_comparisons
from .decoding import check_decoding, padding_of
from .explain import explanation
from .handlers import Handler
from .hardware.base import Endpoint, NotOnHardware
from .hardware.torch_device import Cpu, TorchEndpoint
from .measure import Opening, measure
from .memory import resident
from .models.hub import CheckpointUnavailable
from .opening import load, open_task, shared_bench
from .parity import Tolerance, faults_of, relative_l2, tolerance_of
from .results import HandlerResult
from .rounding import WITNESSES, Rounding, allowing_for, in_words, rounding_of
from .skillset.classes import skill_of
from .skillset.names import init_name
from .skillset.skill import Opened
from .specs import Job
from .speed import Numbers
from .tasks.base import Task
from .ties import compare_tied_rows
from .verdict import DEPARTURE, OWN, Comparison, Implementation, Outcome, Stage, Verdict

Enter = Callable[[Stage | Verdict], None]
"""Is told of each stage as it begins, and of a verdict that stands whatever becomes of the process that explains it."""

PROPOSED = "pytest_ipfs_accelerate.proposals.trial:run_proposed"
"""Runs a case whose row is proposed on the spot; by name, since proposing a row runs cases."""

FOREIGN = "pytest_ipfs_accelerate.skillset.foreign.case:run_foreign"
"""Runs a case of a skill class of the user's; by name, since it is built upon this module."""


def run_case(job: Job, enter: Enter, endpoint: Endpoint | None = None) -> Verdict:
    """Run one case and say how it ended. ``enter`` is told of each stage as it begins, and of a verdict before it is explained.
    ``endpoint`` is one that was opened for this job before: the checks are of that one then, and none is exported or lowered.

    Every exception becomes a verdict at the stage that it left: this is the boundary between a case and the run.
    """
    torch.set_num_threads(job.threads)
    if job.recipe.proposed:
        verdict: Verdict = load(PROPOSED)(job, enter)
        return verdict
    if job.skill is not None:
        foreign: Verdict = load(FOREIGN)(job, enter)
        return foreign
    run = CaseRun(job, enter, endpoint)
    try:
        run.run()
    except Fault as fault:
        return run.verdict(Outcome.FAILED, str(fault), exception="Fault")
    except CheckpointUnavailable as missing:
        return run.verdict(Outcome.UNAVAILABLE, str(missing), exception="CheckpointUnavailable")
    except NotOnHardware as fault:
        return run.verdict(Outcome.FAILED, f"not on {job.case.hardware}: {fault}", exception="NotOnHardware")
    except Exception as error:
        detail = "".join(traceback.format_exception(error))
        return run.verdict(Outcome.FAILED, describe(error), detail, exception=type(error).__name__)
    return run.verdict(Outcome.PASSED)


def _agrees(comparisons: Sequence[Comparison]) -> bool:
    return all(comparison.ok for comparison in comparisons)


def describe(error: BaseException) -> str:
    """Type and message of an exception, in a line, and of what caused it."""
    parts = []
    current: BaseException | None = error
    while current is not None:
        message = _message(str(current))
        parts.append(f"{type(current).__name__}: {message}" if message else type(current).__name__)
        current = current.__cause__
    return ", caused by ".join(parts)


_SOURCE = re.compile(r"(Exception from|Check '.*' failed at) [^\s:]+:\d+:?\s*")
"""Where a runtime stood in its own source, which it says before what went wrong."""


def _message(text: str) -> str:
    """The first line of a message; where a runtime names its own source first, the first and the last line that say more."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    said = [found for line in lines if (found := _SOURCE.sub("", line).strip())]
    if not lines or not said or not _SOURCE.match(lines[0]):
        return lines[0] if lines else ""
    return said[0] if said[0] == said[-1] else f"{said[0].rstrip(':')}: {said[-1]}"


class CaseRun:
    """A case on its way through the stages; what it has found so far is in its verdict however it ends."""

    def __init__(self, job: Job, enter: Enter, given: Endpoint | None = None) -> None:
        self.job = job
        self.enter = enter
        self.given = given
        self.stage = Stage.BUILD
        self.seconds: dict[str, float] = {}
        self.evidence: dict[str, Any] = {}
        self.comparisons: list[Comparison] = []
        self.numbers: Numbers | None = None
        self.endpoint: Endpoint | None = None
        self.rounding: Rounding | None = None

    @contextmanager
    def staged(self, stage: Stage) -> Iterator[None]:
        self.stage = stage
        self.enter(stage)
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[stage.value] = round(time.perf_counter() - started, 4)

    def run(self) -> None:
        """All the stages in order.

        Raises:
            Fault: a check failed.
            NotOnHardware: the hardware did not compute it.
        """
        task = self._build()
        with self.staged(Stage.PROCESS):
            forms = forms_of(task)
            if padded := padding_of(task, forms):
                self.evidence["left padding, positions"] = padded
        with self.staged(Stage.REFERENCE):
            reference = shared_bench().reference(self.job.case, task, forms)
            if shared_bench().references.reused:
                self.reused("reference")
            self.evidence["reference"] = dict(reference.evidence)
        before = resident() if self.job.measure is not None else None
        handler = self._lower(task)
        results = self._run(handler, forms)
        self._compare(task, forms, reference, results)
        if self.job.measure is not None:
            with self.staged(Stage.MEASURE):
                self.numbers = measure(self.job, handler, forms["unpadded"], results["unpadded"], self._opening(before))

    def _opening(self, resident_before: int | None) -> Opening:
        """What it took to open the endpoint. One that was given was opened elsewhere."""
        return Opening(
            load_s=shared_bench().checkpoints.seconds,
            export_s=shared_bench().export_seconds if Stage.EXPORT in self.seconds else None,
            lower_s=self.seconds.get(Stage.LOWER),
            resident=resident_before,
        )

    def note(self, evidence: Mapping[str, Any]) -> None:
        self.evidence.update(evidence)

    def reused(self, what: str) -> None:
        self.evidence.setdefault("reused", []).append(what)

    def warn(self, warning: str) -> None:
        self.evidence.setdefault("warnings", []).append(warning)

    def _build(self) -> Task:
        with self.staged(Stage.BUILD):
            checkpoint = shared_bench().checkpoint(self.job.recipe)
            if shared_bench().checkpoints.reused:
                self.reused("checkpoint")
            self.evidence["checkpoint"] = {
                "class": self.job.recipe.model_class,
                "parameters": checkpoint.parameters,
                "weights sha256": checkpoint.digest,
                **checkpoint.origin,
            }
            processor = checkpoint.processor
            why = self.job.recipe.inputs.get("why", "")
            self.evidence["inputs"] = type(processor).__name__ if processor is not None else f"tensors only: {why}"
            return open_task(self.job, checkpoint)

    def _lower(self, task: Task) -> Handler:
        """The handler of the case, opened through the class of its model type as a worker opens it."""
        if self.given is not None:
            self.endpoint = self.given
            return Handler(self.job.case, task, self.given)
        self.note(
            {
                "asked": {
                    "precision": self.job.precision or OWN,
                    "device": self.job.device or OWN,
                    "fallback": "allowed" if self.job.allow_fallback else "forbidden",
                }
            }
        )
        skill = skill_of(self.job, bench=shared_bench(), watch=self)
        opened: Opened = getattr(skill, init_name(self.job.case.hardware))(task=self.job.case.task)
        self.endpoint = opened.endpoint
        return opened.handler

    def _run(self, handler: Handler, forms: Mapping[str, Form]) -> dict[str, HandlerResult]:
        with self.staged(Stage.RUN):
            # The first one from its natural input, as a user calls it.
            results = {"unpadded": handler(forms["unpadded"].natural)}
            results |= {
                name: handler.handle(form.natural, form.encoded) for name, form in forms.items() if name not in results
            }
            self.evidence["backend"] = dict(results["batch"].evidence)
            if (generation := handler.endpoint.generation) is not None:
                self.evidence["generation"] = generation.evidence()
                check_decoding(generation, self.evidence["reference"])
            for warning in handler.endpoint.warnings():
                self.warn(warning)
            asked, precision = self.job.precision, results["batch"].precision
            if asked and asked != precision:
                raise NotOnHardware(f"{asked} was asked for; it computed in {precision}")
            for name, result in results.items():
                if faults := faults_of(result.outputs):
                    raise Fault(f"the output of the {name} sample: {'; '.join(faults)}")
                if result.implementation is Implementation.MOCK:
                    raise Fault(
                        f"{self.job.case.hardware} says of itself that it is a mock, and a mock is never a pass"
                    )
            return results

    def _compare(
        self, task: Task, forms: Mapping[str, Form], reference: Reference, results: Mapping[str, HandlerResult]
    ) -> None:
        """Parity of each input alone, then of two together, which must also be what each is alone."""
        with self.staged(Stage.PARITY):
            tolerance = tolerance_of(
                self.job.case.hardware, results["unpadded"].precision, results["unpadded"].implementation
            )
            reference = self._own_reference(task, forms, reference, results)
            alone = [name for name in forms if name != "batch"]
            held, tolerance = self._held(alone, task, forms, reference, results, tolerance)
            departing = next((name for name in alone if not _agrees(held[name])), "unpadded")
            with self._explained(task, self.endpoint, departing, forms[departing], tolerance):
                self._keep([each for name in alone for each in held[name]], "departs from the reference")
            self._keep_twins(task, forms["unpadded"], results["unpadded"], tolerance)
        with self.staged(Stage.BATCH):
            form, result = forms["batch"], results["batch"]
            held, tolerance = self._held(["batch"], task, forms, reference, results, tolerance)
            found = held["batch"]
            rows = [task.rows(results[name].outputs, forms[name].encoded)[0] for name in ("unpadded", "other")]
            pairs = list(zip(rows, task.rows(result.outputs, form.encoded), strict=False))
            # What is a row of one and not of the other lies layer by layer, or in one piece for all inputs: it is compared
            # whole.
            rows = [{name: row[name] for name in row if name in both} for row, both in pairs]
            together = [{name: both[name] for name in both if name in row} for row, both in pairs]
            found += compare_tied_rows(rows, together, tolerance, "alone, in a batch of two")
            with self._explained(task, self.endpoint, "batch", form, tolerance):
                self._keep(found, "of a batch of two departs from the reference, or from each input alone")

    def _own_reference(
        self, task: Task, forms: Mapping[str, Form], reference: Reference, results: Mapping[str, HandlerResult]
    ) -> Reference:
        """What the endpoint is held against: where it brings a reference of its own, that one, and how far the endpoint is from
        the first one is put on record, and judges nothing."""
        assert self.endpoint is not None
        own = self.endpoint.own_reference()
        if own is None:
            return reference
        self.evidence["held against"] = f"{type(own).__name__} on the same program"
        expected, actual = reference.results["unpadded"].outputs, results["unpadded"].outputs
        self.evidence["distance from fp32, relative L2"] = {
            name: relative_l2(expected[name], actual[name])
            for name in expected
            if name in actual and expected[name].is_floating_point() and expected[name].shape == actual[name].shape
        }
        handler = Handler(self.job.case, task, own)
        found = {name: handler.handle(form.natural, form.encoded) for name, form in forms.items()}
        return Reference(found, reference.evidence)

    def _held(
        self,
        names: Sequence[str],
        task: Task,
        forms: Mapping[str, Form],
        reference: Reference,
        results: Mapping[str, HandlerResult],
        tolerance: Tolerance,
    ) -> tuple[dict[str, list[Comparison]], Tolerance]:
        """Some of the forms held against the reference, and the tolerance that they were held to: wider where one departs and
        rounding alone takes torch as far."""

        def hold(name: str, result: HandlerResult, tolerance: Tolerance) -> list[Comparison]:
            return against_reference(name, task, forms[name], reference.results[name], result, tolerance)

        held = {name: hold(name, results[name], tolerance) for name in names}
        witness = self._witness(results["unpadded"])
        if not witness or self.rounding is not None or all(map(_agrees, held.values())):
            return held, tolerance
        # What follows another choice of a token continues another text: that is no rounding.
        tied = replace(tolerance, ties=True)
        self.rounding = rounding_of(self.job.case, task, forms, witness, lambda name, result: hold(name, result, tied))
        self.evidence["rounding"] = self.rounding.evidence()
        tolerance = allowing_for(self.rounding, tolerance)
        return {name: hold(name, results[name], tolerance) for name in names}, tolerance

    def _witness(self, result: HandlerResult) -> str:
        """The precision in which torch says what rounding does to a result; none for torch on the CPU itself."""
        itself = isinstance(self.endpoint, TorchEndpoint) and result.device == "cpu"
        return "" if itself else WITNESSES.get(result.precision, "")

    def _keep_twins(self, task: Task, form: Form, result: HandlerResult, tolerance: Tolerance) -> None:
        """Hold the other ways in which the hardware computes the same against the first one.

        Raises:
            Fault: one of them does not agree.
        """
        assert self.endpoint is not None
        for name, twin in self.endpoint.twins().items():
            other = Handler(self.job.case, task, twin).handle(form.natural, form.encoded)
            found = raw_comparisons(task, form, result, other, tolerance, f"{name}, unpadded")
            with self._explained(task, twin, "unpadded", form, tolerance):
                self._keep(found, f"departs with {name}")

    @contextmanager
    def _explained(
        self, task: Task, endpoint: Endpoint | None, name: str, form: Form, tolerance: Tolerance
    ) -> Iterator[None]:
        """Where a check fails, find out where the endpoint first departs on this form, if that was asked for."""
        try:
            yield
        except Fault as fault:
            if self.job.explain and endpoint is not None:
                self.enter(self.verdict(Outcome.FAILED, str(fault), exception="Fault"))
                self.evidence[DEPARTURE] = {"form": name} | explanation(
                    endpoint,
                    lambda: endpoint.own_reference() or Cpu().lower(task.checkpoint, None),
                    lambda each: Handler(self.job.case, task, each).compute(form.encoded),
                    tolerance,
                )
            raise

    def _keep(self, comparisons: Sequence[Comparison], words: str) -> None:
        """Put comparisons on record.

        Raises:
            Fault: one of them is not ok.
        """
        self.comparisons += comparisons
        if not any(comparison.output != "decoded" for comparison in comparisons):
            raise Fault("there was no raw output to compare")
        wrong = [comparison for comparison in comparisons if not comparison.ok]
        if wrong:
            reason = f"{len(wrong)} of {len(comparisons)} comparisons: the output {words}; first: {wrong[0]}"
            if self.rounding is not None and any(each.against.startswith("reference") for each in wrong):
                reason += f"; {in_words(self.rounding, wrong)}"
            raise Fault(reason)

    def verdict(self, outcome: Outcome, reason: str = "", detail: str = "", exception: str = "") -> Verdict:
        """What is known now."""
        case, endpoint = self.job.case, self.endpoint
        return Verdict(
            **case._asdict(),
            outcome=outcome,
            stage=self.stage,
            reason=reason,
            exception=exception,
            detail=detail,
            implementation=endpoint.implementation if endpoint else None,
            device=endpoint.device if endpoint else "",
            precision=endpoint.precision if endpoint else "",
            comparisons=tuple(self.comparisons),
            evidence=self.evidence,
            seconds=self.seconds,
            versions=versions(),
            numbers=self.numbers,
        )


def versions() -> dict[str, str]:
    """Installed versions of the libraries that a verdict depends on."""
    names = (
        *("torch", "transformers", "onnx", "onnxscript", "onnxruntime", "openvino", "onnxruntime-qnn", "coremltools"),
        "executorch",
    )
    return {name: found for name in names if (found := _version(name))}


@cache
def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
