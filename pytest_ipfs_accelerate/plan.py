"""What will run: the settings, the registry and what plugins declare, joined into the selected cases.

Nothing here asks what this machine has: every process of a run must select the same cases.
"""

from __future__ import annotations

import datetime
import shlex
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from importlib.util import find_spec
from typing import TypeVar

import pytest

from . import builtin
from .asked import asked_devices, asked_precisions
from .baseline import Baseline, read_baseline
from .checkpoints import asked_checkpoints
from .installed import installed_classes, installed_heads, installed_version
from .ledger import Ledger, load_ledger, read_ledger
from .matrix import Case, UnknownName, absent_members, base_task, choose, mark_name
from .options import CASES_MARK, split
from .registry import CATEGORIES, Registry, load_registry, read_pipeline_map
from .settings import Settings, base_of, check_timeouts, read_settings
from .skillset.foreign.discover import discover
from .skillset.foreign.selection import Skillset
from .specs import Availability, CheckpointSource, HardwareSpec, Job, Measure, Recipe, TaskSpec
from .verdict import Outcome, Stage, Verdict
from .words import nearest

PLAN = pytest.StashKey["Plan"]()
SUITE_CASES = pytest.StashKey[dict[str, list[Case]]]()
"""The cases of the matrix that this run collects, by model type."""


def plan_of(config: pytest.Config) -> Plan:
    """The plan of a run, made when it is first asked for."""
    if PLAN not in config.stash:
        if not config.pluginmanager.has_plugin(builtin.__name__):
            config.pluginmanager.register(builtin, builtin.__name__)
        plan = config.stash[PLAN] = Plan(config)
        register_marks(config, plan)
    return config.stash[PLAN]


class Plan:
    """The selected cases of a run, and how each becomes a job.

    Raises:
        pytest.UsageError: an option, file or declaration that is not usable.
    """

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.settings: Settings = read_settings(config)
        self.hardware: dict[str, HardwareSpec] = declared(config.hook.pytest_ipfs_hardware(config=config))
        self.tasks: dict[str, TaskSpec] = declared(config.hook.pytest_ipfs_tasks(config=config))
        self.aliases = {alias: spec.name for spec in self.tasks.values() for alias in spec.aliases}
        self._availability: dict[str, Availability] = {}
        for name in self.hardware:
            if not name.isidentifier() or name != name.lower():
                raise pytest.UsageError(f"pytest_ipfs_hardware: {name!r} is not a lower-case identifier")
            check_timeouts(self.hardware[name].timeouts, f"pytest_ipfs_hardware: {name}: timeouts")
        self.precisions = asked_precisions(self.settings, self.hardware)
        self.devices = asked_devices(self.settings, self.hardware)
        self.require = self._choose("require", self.settings.require, self.hardware) if self.settings.require else []

    @cached_property
    def registry(self) -> Registry:
        """The shipped rows, the user's, those of plugins, narrowed to the pipeline map where there is one."""
        rows = {}
        for found in reversed(self.config.hook.pytest_ipfs_models(config=self.config)):
            rows.update(found)
        registry = load_registry(self.settings.registry, rows)
        self._meet_installed(registry)
        if self.settings.pipeline_map is not None:
            registry.narrow(read_pipeline_map(self.settings.pipeline_map, registry, self.aliases))
        return registry

    def _meet_installed(self, registry: Registry) -> None:
        """Where another transformers is installed than the registry is pinned to: take in what that one has and the registry
        has not, and note what it lacks."""
        installed = installed_version()
        if installed in ("", registry.transformers):
            return
        registry.propose(
            installed_heads(),
            f"transformers {installed} has it, the registry, made for {registry.transformers}, has no row",
        )
        classes = installed_classes()
        for model in registry:
            row = registry.raw(model)
            for task, head in row["tasks"].items():
                needed = (head.get("config_class") or row["config_class"], head["class"])
                if missing := [name for name in needed if name and name not in classes]:
                    self.lacking[model, task] = f"transformers {installed} has no {missing[0]}"

    @cached_property
    def lacking(self) -> dict[tuple[str, str], str]:
        """Why the installed transformers cannot run a task of a model type, by both."""
        return {}

    @cached_property
    def ledger(self) -> Ledger:
        """Our known failures, with the user's laid over them; of a skillset the user's alone, since ours are of our own
        classes."""
        path = self.settings.ledger
        if path is not None and self.settings.update_ledger and not path.exists():
            path = None  # it is about to be made
        if self.skillset:
            return Ledger(read_ledger(path, "--ipfs-ledger") if path is not None else ())
        return load_ledger(path)

    @cached_property
    def checkpoints(self) -> dict[str, CheckpointSource]:
        """The real checkpoints that were given for model types."""
        base = base_of(self.config, self.settings.sources.get("checkpoint", ""))
        return asked_checkpoints(self.settings, tuple(self.registry), base)

    def recipe(self, case: Case) -> Recipe:
        """What builds the checkpoint of a case: the tiny one, or a real one that was asked for."""
        recipe = self.registry.recipe(case.model, case.task)
        weights = self.settings.weights
        default = None if weights == "tiny" else CheckpointSource(kind=weights, place=recipe.hub)
        return replace(recipe, checkpoint=self.checkpoints.get(case.model, default))

    @cached_property
    def baseline(self) -> Baseline | None:
        """What the numbers of this run are held against."""
        path = self.settings.bench_compare if self.settings.bench else None
        return read_baseline(path, self.settings.sources["bench-compare"]) if path is not None else None

    def judge(self, verdict: Verdict) -> Verdict:
        """A verdict beside the baseline, where there is one, and as the ledger sees it. The ledger tells of tiny checkpoints:
        that a real one passes makes no row of it wrong."""
        if self.baseline is not None:
            verdict = self.baseline.hold(verdict, self.settings.bench_threshold)
        source = verdict.evidence.get("checkpoint", {}).get("source", "tiny")
        if verdict.outcome is Outcome.PASSED and source != "tiny":
            return verdict
        return self.ledger.judge(verdict, verdict.versions, datetime.date.today())

    @property
    def sets(self) -> Mapping[str, tuple[str, ...]]:
        return {**self.registry.sets, **self.settings.sets}

    @property
    def absent(self) -> dict[str, list[str]]:
        """By named set of the selection: its members that there is no row or class for."""
        return absent_members(self.settings.models or (), list(self.models), self.sets)

    @cached_property
    def skillset(self) -> Skillset | None:
        """The skill classes of the user's that are checked in place of our own; ``None`` where none are."""
        words, source = self.settings.skillset, self.settings.sources.get("skillset", "")
        if not words:
            return None
        found = discover(
            words, base_of(self.config, source), self.registry, option=source, left_out=self.registry.left_out
        )
        return Skillset(found, self.registry, self.tasks)

    @property
    def models(self) -> Iterable[str]:
        """The model types that there are cases of: those of the skill classes, else those of the registry."""
        return self.skillset.skills if self.skillset else self.registry

    @property
    def among(self) -> str:
        """Where the model types are looked for, for the sentence that one is not there."""
        return " among the classes of the skillset" if self.skillset else ""

    def category(self, model: str) -> str:
        """The category of a model type; empty for a skill class of a type that there is not."""
        return self.registry.category(model) if model in self.registry else ""

    @cached_property
    def selected(self) -> dict[str, list[Case]]:
        """The selected cases by model type; all of them where nothing was selected."""
        models = self._choose("models", self.settings.models or ("*",), self.models, sets=self.sets)
        return self.cases(models)

    def cases(self, models: Iterable[str], also: Container[str] = ()) -> dict[str, list[Case]]:
        """The cases of these model types under the other settings; on hardware that runs only where it is named, those alone
        that the settings or ``also`` name."""
        settings = self.settings
        hardware = self._choose_hardware(settings.hardware, also)
        tasks = set(self._choose("tasks", settings.tasks, self.all_tasks(), aliases=self.aliases))
        categories = set(self._choose("category", settings.category, CATEGORIES))
        chosen = [model for model in models if self.category(model) in ("", *categories)]
        if self.skillset:
            cases = [case for model in chosen for case in self.skillset.cases(model, tasks, hardware)]
        else:
            cases = [
                Case(model, task, name)
                for model in chosen
                for task in self.registry.tasks(model)
                if task in tasks or base_task(task) in tasks
                for name in hardware
            ]
        self.config.hook.pytest_ipfs_modify_cases(config=self.config, cases=cases)
        by_model: dict[str, list[Case]] = {}
        for case in dict.fromkeys(cases):
            by_model.setdefault(case.model, []).append(case)
        for model, some in by_model.items():
            self._validate(model, some)
        return by_model

    def _validate(self, model: str, cases: Iterable[Case]) -> None:
        """Find out before the run whether the cases of a model type can become jobs.

        Raises:
            pytest.UsageError: a row is not valid, or a hook added a case of what does not exist.
        """
        if self.skillset and self.skillset.fault(model):
            return
        known = model in self.registry and set(self.registry.row(model).tasks)
        for case in cases:
            if not known or case.task not in known or case.hardware not in self.hardware:
                raise pytest.UsageError(
                    f"pytest_ipfs_modify_cases: {case.nodeid} is not a case: no such row or hardware"
                )
        self.registry.validate(model)
        assert self.checkpoints is not None  # read now: one that cannot be used is an error before the run

    def marked_cases(self, models: str = "*", tasks: str = "", hardware: str = "") -> list[Case]:
        """The cases of a marker ``ipfs_cases``, in the words of the options; what it leaves out is as the options say."""
        chosen = self._choose("models", split(models), self.registry, sets=self.sets)
        kept_hardware = self._choose_hardware(split(hardware))
        cases = [case for some in self.cases(chosen, kept_hardware).values() for case in some]
        kept_tasks = self._choose("tasks", split(tasks), self.all_tasks(), aliases=self.aliases)
        return [case for case in cases if base_task(case.task) in kept_tasks and case.hardware in kept_hardware]

    def _choose_hardware(self, words: tuple[str, ...], also: Container[str] = ()) -> list[str]:
        """What the words choose; where they name none, what is optional is left out unless it is in ``also``."""
        chosen = self._choose("hardware", words, self.hardware)
        if any(not word.startswith("!") for word in words):
            return chosen
        return [name for name in chosen if self.hardware[name].default or name in also]

    def all_tasks(self) -> Iterable[str]:
        """Every task that is declared or stands in the registry."""
        # A registry of the user's may name a task before anyone declares it: the case will say so.
        return dict.fromkeys(
            [*self.tasks, *(base_task(task) for model in self.registry for task in self.registry.tasks(model))]
        )

    def _choose(
        self,
        name: str,
        words: tuple[str, ...],
        names: Iterable[str],
        *,
        aliases: Mapping[str, str] | None = None,
        sets: Mapping[str, tuple[str, ...]] | None = None,
    ) -> list[str]:
        if not words:
            return list(names)
        try:
            return choose(words, names, aliases=aliases, sets=sets)
        except UnknownName as unknown:
            source = self.settings.sources.get(name, f"--ipfs-{name}")
            kind = {"models": "model type", "tasks": "task", "category": "category"}.get(name, "hardware")
            among = self.among if name == "models" else ""
            raise pytest.UsageError(
                f"{source}: no {kind} {unknown.word!r}{among}{nearest(unknown.word, unknown.known)}"
            ) from None

    def availability(self, hardware: str) -> Availability:
        """Whether a hardware can run here; probed once.

        Raises:
            pytest.UsageError: its probe raised. That is a fault of whoever declared it, and no reason to skip.
        """
        if hardware not in self._availability:
            try:
                self._availability[hardware] = self.hardware[hardware].probe()
            except Exception as error:
                raise pytest.UsageError(f"the probe of {hardware} raised {type(error).__name__}: {error}") from error
        return self._availability[hardware]

    def unavailable(self, case: Case) -> str:
        """Why a case cannot run here: the hardware, or a library that its model needs; empty when it can."""
        availability = self.availability(case.hardware)
        if not availability.available:
            return f"{case.hardware}: {availability.reason}"
        if case.model not in self.registry:
            return ""
        if reason := self.lacking.get((case.model, case.task)):
            return reason
        missing = [name for name in self.registry.recipe(case.model, case.task).needs if find_spec(name) is None]
        return f"{case.model} needs {', '.join(missing)}, not installed here" if missing else ""

    def undeclared(self, case: Case) -> str:
        """Why nothing can run a case anywhere: its task stands in the registry, but nobody declares it, or it is of a skill
        class for which there is no model type; empty otherwise."""
        if self.skillset and (fault := self.skillset.fault(case.model)):
            return fault
        task = base_task(case.task)
        if task in self.tasks:
            return ""
        return f"nobody declares the task {task!r} (hook pytest_ipfs_tasks){nearest(task, self.tasks)}"

    def job(self, case: Case) -> Job:
        """What the host needs to run a case.

        Raises:
            pytest.UsageError: nobody declared the task.
        """
        if reason := self.undeclared(case):
            raise pytest.UsageError(f"{case.nodeid}: {reason}")
        return Job(
            case=case,
            recipe=self.recipe(case),
            hardware=self.hardware[case.hardware].target,
            task=self.tasks[base_task(case.task)].target,
            threads=self.settings.threads,
            precision=self.precisions.get(case.hardware, ""),
            device=self.devices.get(case.hardware, ""),
            allow_fallback=self.settings.allow_fallback,
            explain=self.settings.explain,
            cache_dir=str(self.settings.cache_dir),
            cache_size=self.settings.cache_size,
            skill=self.skillset.source(case.model) if self.skillset else None,
            words=self.skillset.words(case) if self.skillset else (),
            measure=self.measure,
            timeouts=self.settings.not_asked(self.hardware[case.hardware].timeouts),
        )

    @property
    def measure(self) -> Measure | None:
        """What is timed of each case that passes; ``None`` where nothing is."""
        settings = self.settings
        if not settings.bench:
            return None
        return Measure(batches=settings.bench_batch, seconds=settings.bench_seconds, workers=settings.workers)

    def reproduce(self, case: Case) -> str:
        """The command that runs a case again, with the options that its meaning depends on."""
        settings = self.settings
        options = [
            f"--ipfs-{name}={path}"
            for name, path in (
                ("registry", settings.registry),
                ("pipeline-map", settings.pipeline_map),
                ("ledger", settings.ledger),
            )
            if path is not None
        ]
        if self.skillset:
            options.append(f"--ipfs-skillset={self.skillset.skills[case.model].source.file}")
        if case.hardware in self.require:
            options.append(f"--ipfs-require={case.hardware}")
        for name, asked in (("precision", self.precisions), ("device", self.devices)):
            if case.hardware in asked:
                options.append(f"--ipfs-{name}={case.hardware}={asked[case.hardware]}")
        if settings.weights != "tiny":
            options.append(f"--ipfs-weights={settings.weights}")
        if (given := self.checkpoints.get(case.model)) is not None:
            revision = f"@{given.revision}" if given.revision else ""
            options.append(f"--ipfs-checkpoint={case.model}={given.place}{revision}")
        options += ["--ipfs-allow-fallback"] * settings.allow_fallback
        options += bench_options(settings)
        if limits := [f"{stage}={settings.timeouts[stage]:g}" for stage in Stage if stage in settings.timeouts_asked]:
            options.append("--ipfs-timeout=" + ",".join(limits))
        return shlex.join(["pytest", case.nodeid, *options])


Spec = TypeVar("Spec", HardwareSpec, TaskSpec)


def declared(found: Sequence[Sequence[Spec]]) -> dict[str, Spec]:
    """Declarations by name, the later in the place of the earlier: pluggy calls the last registered first."""
    return {spec.name: spec for specs in reversed(found) for spec in specs}


def bench_options(settings: Settings) -> list[str]:
    """The options under which a case is timed again as it was."""
    if not settings.bench:
        return []
    batches = ",".join(map(str, settings.bench_batch))
    options = ["--ipfs-bench", f"--ipfs-bench-batch={batches}", f"--ipfs-bench-seconds={settings.bench_seconds:g}"]
    if settings.bench_compare is not None:
        threshold = f"{100 * settings.bench_threshold:g}%"
        options += [f"--ipfs-bench-compare={settings.bench_compare}", f"--ipfs-bench-threshold={threshold}"]
    return options


def register_marks(config: pytest.Config, plan: Plan) -> None:
    """Register every mark that an item can carry, for ``--strict-markers`` and ``--markers``."""
    lines = {
        "ipfs": "a case of the matrix",
        "ipfs_case(model, task, hardware)": "which case of the matrix this is",
    }
    lines |= {name: f"runs on {name}: {spec.summary}" for name, spec in plan.hardware.items()}
    lines |= {name: f"a model type of the category {name}" for name in CATEGORIES}
    lines |= {mark_name(name): f"the task {name}" for name in plan.all_tasks()}
    for line in (CASES_MARK, *(f"{mark}: {meaning}" for mark, meaning in lines.items())):
        config.addinivalue_line("markers", line)
