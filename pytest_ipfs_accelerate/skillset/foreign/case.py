"""One case of a user's skill class, inside the host: REAL is decided by what is found, never by a label."""

from __future__ import annotations

import os
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from ...bench import Fault, forms_of
from ...builtin import TASKS
from ...handlers import Handler
from ...hardware.torch_device import Cpu
from ...matrix import base_task
from ...models.hub import CheckpointUnavailable
from ...opening import open_task, shared_bench
from ...runner import Enter, describe, versions
from ...specs import SCRATCH, Job, SkillSource
from ...speed import Numbers
from ...tasks.base import Task
from ...verdict import Outcome, Stage, Verdict
from ..findings import FINDINGS, Check, Finding, as_evidence
from ..names import task_words
from . import interface, wiring
from .binding import NotCallable
from .claims import Claim, claims_of
from .endpoints import check_endpoint, check_no_mock, check_place, check_precision, modules_in, new_parameters
from .expected import Expected
from .files import Snapshot, check_checkpoint, check_files, package_of, snapshot
from .judging import Found, Judgement, judge
from .loading import load
from .longer import Handled, look_at_its_runtime, look_longer
from .missing import check_missing
from .naturals import Call, as_sixteen_bits, calls_of
from .opening import TUPLE, Opened, label_of, open_skill, place_of_handler
from .ran import Ran
from .saved import Unavailable, save_checkpoint
from .self_run import run_self_test
from .swallowed import Seen, as_findings, watching
from .trials import Caller, Trial, compare_answers, make_calls, place_of, varied

Ways = Callable[[Any, str], list[Call]]
"""The calls with a natural input; its pictures and sounds are saved in a directory of a name."""

CHECKPOINT = "checkpoint"
"""Name of the directory that the class is given."""

UNTIMED = "--ipfs-bench times the endpoints of the plugin, not the handlers of skill classes"

MISSING = "no-such-checkpoint"
"""Name of the directory that is not there."""


def run_foreign(job: Job, enter: Enter) -> Verdict:
    """Check a user's class on one case and say how it ended. Every exception becomes a verdict: this is the boundary between a
    case and the run."""
    assert job.skill is not None
    run = ForeignRun(job, job.skill, enter)
    try:
        with tempfile.TemporaryDirectory(prefix="ipfs-skill-", dir=os.environ.get(SCRATCH)) as directory:
            run.run(Path(directory))
    except (Unavailable, CheckpointUnavailable) as why:
        return run.verdict(Judgement(outcome=Outcome.UNAVAILABLE, reason=str(why)))
    except Fault as fault:
        return run.verdict(Judgement(outcome=Outcome.FAILED, reason=f"the reference: {fault}", exception="Fault"))
    except Exception as error:
        detail = "".join(traceback.format_exception(error))
        return run.verdict(
            Judgement(outcome=Outcome.FAILED, reason=describe(error), detail=detail, exception=type(error).__name__)
        )
    return run.verdict(judge(run.known(), job.skill))


class ForeignRun:
    """A class on its way through the stages. It goes on after a finding as far as it can, so that one run shows them all."""

    def __init__(self, job: Job, source: SkillSource, enter: Enter) -> None:
        self.job = job
        self.source = source
        self.enter = enter
        self.stage = Stage.BUILD
        self.seconds: dict[str, float] = {}
        self.evidence: dict[str, Any] = {"skill": {"class": source.name, "file": source.file, "line": source.line}}
        self.found: list[tuple[Stage, Finding]] = []
        self.caught: list[Finding] = []
        self.claims: list[Claim] = []
        self.missing_claims: list[Claim] = []
        self.trial: Trial | None = None
        self.saved: Snapshot = {}

    @contextmanager
    def staged(self, stage: Stage) -> Iterator[None]:
        self.stage = stage
        self.enter(stage)
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[stage.value] = round(self.seconds.get(stage.value, 0) + time.perf_counter() - started, 4)

    def known(self) -> Found:
        """What is known now."""
        return Found(
            findings=self.found,
            caught=self.caught,
            claims=self.claims,
            of_missing=self.missing_claims,
            answered=self.trial is not None and bool(self.trial.comparisons),
        )

    def keep(self, *findings: Finding) -> None:
        self.found += [(self.stage, finding) for finding in findings]

    def run(self, directory: Path) -> None:
        """All the stages.

        Raises:
            Unavailable: the class cannot be checked on this case.
            Fault: the reference itself is at fault.
        """
        package = package_of(self.source)
        before = snapshot(package)
        try:
            self._run(directory, package)
        finally:
            self.keep(*check_files(before, snapshot(package)))
            self.keep(*check_checkpoint(self.saved, snapshot(directory / CHECKPOINT)))

    def _run(self, directory: Path, package: Path) -> None:
        with self.staged(Stage.BUILD):
            task = self._save(directory / CHECKPOINT)
            self.saved = snapshot(directory / CHECKPOINT)
            cls, words = self._load(package)
        with self.staged(Stage.REFERENCE):
            shared_bench().reference(self.job.case, task, forms_of(task))
            reference = Handler(self.job.case._replace(hardware="cpu"), task, Cpu().lower(task.checkpoint, None))
        if cls is None:
            return
        with self.staged(Stage.LOWER):
            opened = self._open(cls, directory / CHECKPOINT, words, package)
        if opened is None:
            return
        best = self._call_handlers(opened, reference, directory, package)
        if best is not None and best.trial.clean:
            with self.staged(Stage.BATCH):
                self._look_longer(best)
        with self.staged(Stage.RUN):
            self._look_at_endpoint(opened, task)
            if best is not None:
                self._break(cls, opened, best, directory, words)

    def _look_longer(self, best: Handled) -> None:
        """More calls of a handler that is right so far."""
        trial = best.trial
        findings, claims, caught = len(trial.findings), len(trial.claims), len(trial.swallowed)
        self.evidence["a list of two"] = look_longer(best, self.job.case.hardware)
        if told := look_at_its_runtime(best, self.job.case.hardware):
            self.evidence["with what its runtime puts out changed"] = told
        self._swallowed("while it answered later", trial.swallowed[caught:])
        self.keep(*trial.findings[findings:])
        self.claims += trial.claims[claims:]

    def _break(self, cls: type, opened: Opened, best: Handled, directory: Path, words: Sequence[str]) -> None:
        """Whether the class fails where it must: without a checkpoint, and with a handler that is broken on purpose."""
        missing, name = str(directory / MISSING), best.name
        ended = check_missing(
            lambda: open_skill(cls, self.source, self.job, missing, words), name, best.calls[0], self.source
        )
        self.evidence["missing checkpoint"] = ended.ended
        self.missing_claims += ended.claims
        self.keep(*ended.findings)
        handler, saved = opened.handlers[name], str(directory / CHECKPOINT)
        self.keep(*run_self_test(opened, handler, self.source, saved, label_of(self.job)))

    def _save(self, directory: Path) -> Task:
        checkpoint = shared_bench().checkpoint(self.job.recipe)
        task = open_task(self.job, checkpoint)
        self.evidence["checkpoint"] = {
            "class": self.job.recipe.model_class,
            "parameters": checkpoint.parameters,
            "weights sha256": checkpoint.digest,
            **checkpoint.origin,
            "saved": save_checkpoint(task, directory),
        }
        return task

    def _load(self, package: Path) -> tuple[type | None, Sequence[str]]:
        hardware, task = self.job.case.hardware, base_task(self.job.case.task)
        words = self.job.words or task_words(
            task, {alias: task.name for task in TASKS.values() for alias in task.aliases}
        )
        with watching(package) as watch:
            loaded = load(self.source)
        self._swallowed("while it was imported", watch.swallowed())
        self.evidence["loads"] = "by import and from its file" if not loaded.findings else "not as it should"
        self.keep(*loaded.findings, *interface.check_class(loaded.cls, self.source, hardware, words))
        self.keep(*wiring.check_wiring(self.source))
        return loaded.cls, words

    def _swallowed(self, when: str, seen: list[Seen]) -> None:
        # A note until something else is wrong.
        self.caught += (findings := as_findings(seen, when))
        self.keep(*findings)

    def _open(self, cls: type, checkpoint: Path, words: Sequence[str], package: Path) -> Opened | None:
        """The class opened on the checkpoint; ``None`` where it gives no handler, and a finding says why."""
        raised: Exception | None = None
        opened = None
        with watching(package) as watch:
            try:
                opened = open_skill(cls, self.source, self.job, str(checkpoint), words)
            except Exception as error:
                raised = error
        self._swallowed("while it was opened", watch.swallowed(raised))
        if isinstance(raised, NotCallable):
            self.keep(raised.finding)
        elif raised is not None:
            file, line = place_of(raised, watch.owns)
            says = f"opened on a valid checkpoint it raises {describe(raised)}"
            self.keep(self._finding(Check.ENDPOINT, says, file, line))
        if opened is None:
            return None
        self.keep(*opened.findings)
        if not opened.handlers:
            self.keep(self._finding(Check.INTERFACE, "opened on a valid checkpoint it gives no handler"))
            return None
        things = {"the instance": opened.skill, "the endpoint": opened.endpoint, "the processor": opened.processor}
        self.claims += [claim for name, thing in things.items() for claim in claims_of(thing, name)]
        return opened

    def _finding(self, check: Check, says: str, file: str = "", line: int = 0) -> Finding:
        return Finding(check=check, says=says, file=file or self.source.file, line=line or self.source.line)

    def _call_handlers(self, opened: Opened, reference: Handler, directory: Path, package: Path) -> Handled | None:
        """Call the first handler in the first of the ways that leave nothing to find, else in the one that leaves the least;
        which handler and way that is."""
        naturals = [as_sixteen_bits(natural) for natural in reference.task.samples()]
        expected = [Expected(reference, natural) for natural in naturals]
        best: Handled | None = None
        for name, handler in opened.handlers.items():
            file, line = place_of_handler(handler, self.source)
            caller = Caller(handler, package, file, line)

            def ways(natural: Any, place: str, caller: Caller = caller) -> list[Call]:
                (directory / place).mkdir(exist_ok=True)
                return calls_of(caller.handler, natural, directory / place, caller.file, caller.line)

            def more(index: int, turn: int, ways: Ways = ways) -> tuple[Call, Expected]:
                natural = varied(naturals[0], turn)
                return ways(natural, f"further{turn}")[index], Expected(reference, natural)

            try:
                pairs = list(zip(ways(naturals[0], "first"), ways(naturals[1], "other"), strict=True))
            except NotCallable as fault:
                self.keep(fault.finding)
                continue
            for index, (first, other) in enumerate(pairs):
                with self.staged(Stage.RUN):
                    trial = make_calls(caller, first, other)
                with self.staged(Stage.PARITY):
                    compare_answers(caller, trial, expected, self.job.case.hardware, partial(more, index))
                if best is None or trial.rank < best.trial.rank:
                    best = Handled(name, caller, trial, (first, other), expected, partial(more, index))
                if trial.clean:
                    break
            if best is not None and best.trial.clean:
                break
        if best is not None:
            self._take(best.trial)
            self.evidence["handler of"] = best.name
        return best

    def _take(self, trial: Trial) -> None:
        self.trial = trial
        self._swallowed("while it answered", trial.swallowed)
        self.keep(*trial.findings)
        self.claims += trial.claims
        self.evidence |= {"called with": trial.how, "ran": trial.ran.evidence(), "agrees as": trial.agrees}

    def _look_at_endpoint(self, opened: Opened, task: Task) -> None:
        name = self.evidence.get("handler of", TUPLE)
        handler = opened.handlers.get(name) or next(iter(opened.handlers.values()))
        file, line = place_of_handler(handler, self.source)
        things = {"the endpoint": opened.endpoint, "the processor": opened.processor, "the handler": handler}
        self.keep(*check_no_mock(things, file, line))
        ran = self.trial.ran if self.trial else Ran()
        weights = task.checkpoint.model.state_dict()
        if self.trial is not None:
            self.keep(*check_endpoint(opened.endpoint, ran, weights, file, line))
            self.keep(*check_place(self.job.case.hardware, ran, file, line, self.job.precision))
            if not self.job.precision:
                self.keep(*check_precision(ran, weights, file, line))
        new = {
            name for module in (*modules_in(opened.endpoint), *ran.modules) for name in new_parameters(module, weights)
        }
        if new:
            self.evidence["newly initialised"] = sorted(new)

    def verdict(self, judgement: Judgement) -> Verdict:
        """What is known now."""
        ran = self.trial.ran if self.trial else Ran()
        findings = judgement.findings or tuple(finding for _, finding in self.found)
        self.evidence[FINDINGS] = as_evidence(findings)
        self.evidence["says of itself"] = [f"{claim.says}: {claim.where}" for claim in dict.fromkeys(self.claims)]
        return Verdict(
            **self.job.case._asdict(),
            outcome=judgement.outcome,
            stage=Stage.BATCH if judgement.outcome is Outcome.PASSED else judgement.stage or self.stage,
            reason=judgement.reason,
            exception=judgement.exception,
            detail=judgement.detail,
            implementation=judgement.implementation,
            device=", ".join([*ran.module_devices, *ran.execution_devices, *ran.providers]),
            precision=self.trial.precision if self.trial else "",
            comparisons=tuple(self.trial.comparisons) if self.trial else (),
            evidence=self.evidence,
            seconds=self.seconds,
            versions=versions(),
            numbers=Numbers(untimed={"all": UNTIMED}) if self.job.measure is not None else None,
        )
