"""Option, environment and ini → one frozen :class:`Settings`.

One precedence for all of them: the command line, then the environment (``PYTEST_IPFS_<NAME>``), then the ini file
(``ipfs_<name>``), then the default.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from .verdict import Stage
from .words import nearest

STAGE_SECONDS: Mapping[Stage, float] = {
    Stage.BUILD: 120,
    Stage.PROCESS: 60,
    Stage.REFERENCE: 120,
    Stage.EXPORT: 600,
    Stage.LOWER: 300,
    Stage.RUN: 120,
    Stage.PARITY: 60,
    Stage.BATCH: 60,
}
"""How long a stage may take before its host is killed: some twenty times the longest measured on the tiny checkpoints, since
a machine may be slow and a hang is for ever. The first stage of a fresh host also imports torch and transformers."""

ISOLATION = ("process", "none")

WEIGHTS = ("tiny", "cache", "hub")

DOWNLOAD_SECONDS = 3600.0
"""The limit of the stage ``build`` where it may download a checkpoint, which is some gigabytes."""

CACHE_SIZE = "10GB"

WORKERS = "PYTEST_XDIST_WORKER_COUNT"

CASES_MARK = (
    "ipfs_cases(models, tasks, hardware): the cases over which this test is parametrized, in the words of the options"
)
"""The one mark that users write, so it is registered in every run."""


class Kind(Enum):
    FLAG = "flag"
    LIST = "list"
    TEXT = "text"


@dataclass(frozen=True, slots=True)
class Option:
    """One setting: ``--ipfs-<name>``, ``PYTEST_IPFS_<NAME>`` and ``ipfs_<name>``."""

    name: str
    kind: Kind
    metavar: str
    help: str
    ini: bool = True

    @property
    def flag(self) -> str:
        return f"--ipfs-{self.name}"

    @property
    def dest(self) -> str:
        return f"ipfs_{self.name.replace('-', '_')}"

    @property
    def variable(self) -> str:
        return f"PYTEST_{self.dest.upper()}"


OPTIONS = (
    Option("models", Kind.LIST, "TYPE,…", "model types to run: names, globs, @sets, and !name to leave one out"),
    Option("all", Kind.FLAG, "", "run every model type of the registry"),
    Option("tasks", Kind.LIST, "TASK,…", "only these tasks: names, old names, globs, !name"),
    Option("hardware", Kind.LIST, "HW,…", "only this hardware: names, globs, !name"),
    Option("category", Kind.LIST, "CAT,…", "only these categories: language, vision, audio, multimodal, specialized"),
    Option(
        "pipeline-map",
        Kind.TEXT,
        "FILE",
        'a JSON map of model types to tasks, {"bert": ["fill-mask", …]}, first task primary',
    ),
    Option("registry", Kind.TEXT, "FILE", "rows of your own, laid over the shipped model_registry.json"),
    Option(
        "weights",
        Kind.TEXT,
        "|".join(WEIGHTS),
        "what models run on: tiny checkpoints built here (default), or those that the registry names on the Hub: from the "
        "local Hugging Face cache alone (cache), or downloaded (hub)",
    ),
    Option(
        "checkpoint",
        Kind.LIST,
        "TYPE=PATH,…",
        "the checkpoint of a model type: a directory, or a Hub id with or without @revision: bert=./mine",
    ),
    Option(
        "precision",
        Kind.LIST,
        "[HW=]PRECISION,…",
        "compute in this precision where the hardware has it, or on one hardware: bf16, cuda=fp16 (default: its own)",
    ),
    Option("device", Kind.LIST, "HW=DEVICE,…", "which device of a hardware: cuda=1, openvino=GPU, qualcomm=69"),
    Option("qualcomm-soc", Kind.TEXT, "MODEL", "which SoC model Qualcomm's HTP is, or simulates (default: 57)"),
    Option(
        "allow-fallback",
        Kind.FLAG,
        "",
        "let part of a case run elsewhere than on the hardware it names; the verdict and the reports say how much did",
    ),
    Option(
        "explain",
        Kind.FLAG,
        "",
        "name the first operator or layer whose output departs from the reference, for each case that fails parity",
    ),
    Option(
        "skillset",
        Kind.LIST,
        "PATH_OR_PACKAGE,…",
        "check your own hf_* classes: those of a directory, a file or an importable package",
    ),
    Option("require", Kind.LIST, "HW,…", "hardware that this machine must have: unavailable is a failure, not a skip"),
    Option(
        "isolate",
        Kind.TEXT,
        "|".join(ISOLATION),
        "where cases run: in a host process that may die (default), or here, for a debugger",
    ),
    Option(
        "timeout",
        Kind.TEXT,
        "SECONDS",
        "limit for each stage, or for some: export=900,run=30 (0: none; defaults by stage)",
    ),
    Option("cache-dir", Kind.TEXT, "DIR", "where exported programs are kept (default: the user's cache directory)"),
    Option(
        "cache-size",
        Kind.TEXT,
        "SIZE",
        "how large that may grow before what was used longest ago goes: 500MB, 20GB; 0 keeps nothing (default: 10GB)",
    ),
    Option("cache-clear", Kind.FLAG, "", "remove everything in that directory before the run", ini=False),
    Option("json", Kind.TEXT, "FILE", "write every verdict to a JSON file"),
    Option("ledger", Kind.TEXT, "FILE", "known failures of your own, laid over the shipped known_failures.json"),
    Option(
        "update-ledger",
        Kind.FLAG,
        "",
        "rewrite the file of --ipfs-ledger from this run, and print the difference",
        ini=False,
    ),
    Option("list", Kind.FLAG, "", "print the selected cases as a table and exit", ini=False),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the user asked for. ``models`` is ``None`` where nothing was selected; ``timeouts`` holds seconds by stage, 0 for
    no limit; ``cache_size`` is in bytes; ``threads`` is this process's share of the cores among the workers of xdist;
    ``sources`` says for each setting where it came from, for error messages."""

    models: tuple[str, ...] | None
    tasks: tuple[str, ...]
    hardware: tuple[str, ...]
    category: tuple[str, ...]
    pipeline_map: Path | None
    registry: Path | None
    weights: str
    checkpoint: tuple[str, ...]
    precision: tuple[str, ...]
    device: tuple[str, ...]
    qualcomm_soc: str
    allow_fallback: bool
    explain: bool
    skillset: tuple[str, ...]
    require: tuple[str, ...]
    isolate: str
    timeouts: Mapping[Stage, float]
    cache_dir: Path
    cache_size: int
    cache_clear: bool
    json: Path | None
    ledger: Path | None
    update_ledger: bool
    list: bool
    sets: Mapping[str, tuple[str, ...]]
    on_command_line: bool
    threads: int
    sources: Mapping[str, str]

    @property
    def selects(self) -> bool:
        """Whether cases were selected: model types, or skill classes of the user's."""
        return bool(self.models or self.skillset)


def add_options(parser: pytest.Parser) -> None:
    """Declare every option and its ini key."""
    group = parser.getgroup("ipfs", "Hugging Face models on every hardware (pytest-ipfs-accelerate)")
    for option in OPTIONS:
        if option.kind is Kind.FLAG:
            group.addoption(option.flag, dest=option.dest, action="store_true", default=None, help=option.help)
        else:
            group.addoption(option.flag, dest=option.dest, metavar=option.metavar, default=None, help=option.help)
        if option.ini:
            form = {Kind.FLAG: "bool", Kind.LIST: "args", Kind.TEXT: "string"}[option.kind]
            parser.addini(option.dest, f"{option.help} ({option.flag})", type=form, default=None)  # type: ignore[arg-type]
    parser.addini("ipfs_sets", "named sets of model types, one a line: name = bert, vit", type="linelist", default=[])


def split(values: Any) -> tuple[str, ...]:
    """The words of a comma-separated text, or of several."""
    texts = [values] if isinstance(values, str) else values
    return tuple(word.strip() for text in texts for word in text.split(",") if word.strip())


class Given(NamedTuple):
    """A value, where it was given, and the place of that in the precedence (0 comes first)."""

    value: Any
    source: str
    rank: int


def _given(config: pytest.Config, option: Option) -> Given | None:
    """What was asked for and where, by precedence; ``None`` where nobody asked."""
    value = config.getoption(option.dest)
    if value is not None:
        return Given(value, option.flag, 0)
    if option.ini and (text := os.environ.get(option.variable, "")) != "":
        value = text.lower() not in ("0", "no", "false", "off") if option.kind is Kind.FLAG else text
        return Given(value, f"environment variable {option.variable}", 1)
    if option.ini and (value := config.getini(option.dest)) not in (None, [], ""):
        return Given(value, f"ini key {option.dest}", 2)
    return None


def is_configured(config: pytest.Config) -> bool:
    """Whether any setting is there."""
    return any(_given(config, option) is not None for option in OPTIONS)


def asked_to_list(config: pytest.Config) -> bool:
    """Whether the selection is to be printed and nothing run."""
    given = _given(config, next(option for option in OPTIONS if option.name == "list"))
    return given is not None and bool(given[0])


def read_settings(config: pytest.Config) -> Settings:
    """The settings of a run.

    Raises:
        pytest.UsageError: a value that is none.
    """
    found = {option.name: given for option in OPTIONS if (given := _given(config, option)) is not None}
    sources = {name: given.source for name, given in found.items()}

    def words(name: str) -> tuple[str, ...]:
        return split(found[name].value) if name in found else ()

    def text(name: str, default: str) -> tuple[str, str]:
        return (found[name].value, found[name].source) if name in found else (default, "")

    def flag(name: str) -> bool:
        return name in found and bool(found[name].value)

    def path(name: str) -> Path | None:
        return Path(base_of(config, sources[name]), found[name].value) if name in found else None

    weights = _one_of(WEIGHTS, "a kind of weights", *text("weights", "tiny"))

    return Settings(
        models=("*",) if _all(found) else words("models") or None,
        tasks=words("tasks"),
        hardware=words("hardware"),
        category=words("category"),
        pipeline_map=path("pipeline-map"),
        registry=path("registry"),
        weights=weights,
        checkpoint=words("checkpoint"),
        precision=words("precision"),
        device=words("device"),
        qualcomm_soc=text("qualcomm-soc", "")[0],
        allow_fallback=flag("allow-fallback"),
        explain=flag("explain"),
        skillset=words("skillset"),
        require=words("require"),
        isolate=_one_of(ISOLATION, "a way to isolate", *text("isolate", "process")),
        timeouts=_timeouts(stage_seconds(weights), *text("timeout", "")),
        cache_dir=_cache_dir(path("cache-dir"), sources.get("cache-dir", "")),
        cache_size=_bytes(*text("cache-size", CACHE_SIZE)),
        cache_clear="cache-clear" in found,
        json=path("json"),
        ledger=path("ledger"),
        update_ledger="update-ledger" in found,
        list="list" in found,
        sets=_sets(config.getini("ipfs_sets")),
        on_command_line=_on_command_line(config),
        threads=share_of_cores(int(os.environ.get(WORKERS, "1"))),
        sources=sources,
    )


def _all(found: Mapping[str, Given]) -> bool:
    """Whether everything is selected: ``all`` is on, and no narrower selection was given closer to the user."""
    everything, models = found.get("all"), found.get("models")
    return everything is not None and bool(everything.value) and (models is None or everything.rank <= models.rank)


def share_of_cores(processes: int) -> int:
    """Threads for one of ``processes`` that share the cores this process may use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // max(1, processes))


def _on_command_line(config: pytest.Config) -> bool:
    """Whether the selection stands in what the user typed, and not in ``addopts``, the ini file or the environment."""
    typed = [str(argument).partition("=")[0] for argument in config.invocation_params.args]
    return not {"--ipfs-models", "--ipfs-all", "--ipfs-skillset"}.isdisjoint(typed)


def base_of(config: pytest.Config, source: str) -> Path:
    """What a path is relative to: one of the ini file to pytest's root directory, any other to where the user stands."""
    return config.rootpath if source.startswith("ini") else config.invocation_params.dir


def _one_of(known: tuple[str, ...], what: str, value: str, source: str) -> str:
    if value not in known:
        raise pytest.UsageError(f"{source}: {value!r} is not {what}{nearest(value, known)}")
    return value


def stage_seconds(weights: str) -> Mapping[Stage, float]:
    """The default limits of the stages, by what the models run on."""
    return {**STAGE_SECONDS, Stage.BUILD: DOWNLOAD_SECONDS} if weights == "hub" else STAGE_SECONDS


def _timeouts(defaults: Mapping[Stage, float], text: str, source: str) -> Mapping[Stage, float]:
    """Seconds by stage, from ``120`` for all of them or ``export=900,run=30`` for some."""
    timeouts = dict(defaults)
    for word in split(text):
        name, separator, number = word.rpartition("=")
        seconds = _seconds(number, word, source)
        if not separator:
            timeouts = dict.fromkeys(STAGE_SECONDS, seconds)
        elif name in STAGE_SECONDS:
            timeouts[Stage(name)] = seconds
        else:
            raise pytest.UsageError(f"{source}: {name!r} is not a stage{nearest(name, STAGE_SECONDS)}")
    return timeouts


def _seconds(number: str, word: str, source: str) -> float:
    try:
        seconds = float(number)
    except ValueError:
        raise pytest.UsageError(f"{source}: {word!r}: {number!r} is not a number of seconds") from None
    if not 0 <= seconds < float("inf"):
        raise pytest.UsageError(f"{source}: {word!r}: a limit is zero (none) or a positive number of seconds")
    return seconds


def _user_cache() -> Path:
    """Where the programs of a user keep what can be made again. The library for it, platformdirs, brings a pytest plugin of its
    own into every run of our users."""
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData/Local")
    if sys.platform == "darwin":
        return Path.home() / "Library/Caches"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


def default_cache_dir() -> Path:
    """The directory of the store where nobody names one."""
    return _user_cache() / "pytest-ipfs-accelerate"


def _cache_dir(path: Path | None, source: str) -> Path:
    path = path or default_cache_dir()
    if path.exists() and not path.is_dir():
        raise pytest.UsageError(f"{source or 'the cache directory'}: {path} is not a directory")
    return path


_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}


def default_cache_size() -> int:
    """How many bytes the store keeps where nobody says."""
    return _bytes(CACHE_SIZE, "")


def _bytes(text: str, source: str) -> int:
    """A number of bytes, from ``500MB``, ``1.5 GB`` or ``0``."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([A-Za-z]*)", text.strip())
    if found is None or found[2].upper() not in _UNITS:
        raise pytest.UsageError(f"{source}: {text!r} is not a size; write it like 500MB, 20GB or 0")
    return int(float(found[1]) * _UNITS[found[2].upper()])


def _sets(lines: list[str]) -> Mapping[str, tuple[str, ...]]:
    sets = {}
    for line in lines:
        name, separator, members = line.partition("=")
        if not separator or not name.strip() or not split(members):
            raise pytest.UsageError(f"ini key ipfs_sets: {line!r} is not of the form 'name = bert, vit'")
        sets[name.strip()] = split(members)
    return sets
