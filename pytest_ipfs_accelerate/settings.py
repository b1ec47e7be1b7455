"""What was asked for, validated, as one frozen :class:`Settings`."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from .asked_numbers import batch_sizes, threshold_of, time_limit
from .options import ISOLATION, OPTIONS, WEIGHTS, Given, given, split
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
    Stage.MEASURE: 300,
}
"""How long a stage may take before its host is killed: some twenty times the longest measured on the tiny checkpoints, since
a machine may be slow and a hang is for ever. The first stage of a fresh host also imports torch and transformers."""

DOWNLOAD_SECONDS = 3600.0
"""The limit of the stage ``build`` where it may download a checkpoint, which is some gigabytes."""

CACHE_SIZE = "10GB"

WORKERS = "PYTEST_XDIST_WORKER_COUNT"

BENCH_SECONDS, BENCH_THRESHOLD = "5", "10%"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the user asked for. ``models`` is ``None`` where nothing was selected; ``timeouts`` holds seconds by stage, 0
    for no limit, and ``timeouts_asked`` which of them the user gave; ``cache_size`` is in bytes; ``bench_threshold`` is a
    part, 0.1 for 10 %; ``threads`` is this process's share of the cores among the ``workers`` of xdist; ``sources`` says
    for each setting where it came from, for error messages."""

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
    timeouts_asked: frozenset[Stage]
    cache_dir: Path
    cache_size: int
    cache_clear: bool
    bench: bool
    bench_batch: tuple[int, ...]
    bench_seconds: float
    bench_save: Path | None
    bench_compare: Path | None
    bench_threshold: float
    json: Path | None
    ledger: Path | None
    update_ledger: bool
    list: bool
    sets: Mapping[str, tuple[str, ...]]
    on_command_line: bool
    threads: int
    workers: int
    sources: Mapping[str, str]

    @property
    def selects(self) -> bool:
        """Whether cases were selected: model types, or skill classes of the user's."""
        return bool(self.models or self.skillset)

    def not_asked(self, timeouts: Mapping[Stage, float]) -> dict[Stage, float]:
        """Of the limits of a hardware, those for which the user gave none."""
        return {stage: seconds for stage, seconds in timeouts.items() if stage not in self.timeouts_asked}


def read_settings(config: pytest.Config) -> Settings:
    """The settings of a run.

    Raises:
        pytest.UsageError: a value that is none.
    """
    found = {option.name: value for option in OPTIONS if (value := given(config, option)) is not None}
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
    asked_timeouts = _timeouts(*text("timeout", ""))
    timeouts = {**STAGE_SECONDS, **({Stage.BUILD: DOWNLOAD_SECONDS} if weights == "hub" else {}), **asked_timeouts}
    workers = int(os.environ.get(WORKERS, "1"))
    bench = _benched(found)

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
        timeouts=timeouts,
        timeouts_asked=frozenset(asked_timeouts),
        cache_dir=_cache_dir(path("cache-dir"), sources.get("cache-dir", "")),
        cache_size=_bytes(*text("cache-size", CACHE_SIZE)),
        cache_clear="cache-clear" in found,
        bench=bench,
        bench_batch=batch_sizes(words("bench-batch"), sources.get("bench-batch", "")),
        bench_seconds=time_limit(*text("bench-seconds", BENCH_SECONDS), timeouts[Stage.MEASURE] if bench else 0),
        bench_save=path("bench-save"),
        bench_compare=path("bench-compare"),
        bench_threshold=threshold_of(*text("bench-threshold", BENCH_THRESHOLD)),
        json=path("json"),
        ledger=path("ledger"),
        update_ledger="update-ledger" in found,
        list="list" in found,
        sets=_sets(config.getini("ipfs_sets")),
        on_command_line=_on_command_line(config),
        threads=share_of_threads(workers),
        workers=workers,
        sources=sources,
    )


def _all(found: Mapping[str, Given]) -> bool:
    """Whether everything is selected: ``all`` is on, and no narrower selection was given closer to the user."""
    everything, models = found.get("all"), found.get("models")
    return everything is not None and bool(everything.value) and (models is None or everything.rank <= models.rank)


def _benched(found: Mapping[str, Given]) -> bool:
    """Whether cases are timed: where ``bench`` says so; and where one of its other options is given for this run, and not only
    kept in the ini file."""
    asked = found.get("bench")
    if asked is not None and asked.value:
        return True
    return any(name.startswith("bench-") and given.rank < 2 for name, given in found.items())


def share_of_cores(processes: int) -> int:
    """Threads for one of ``processes`` that share the cores this process may use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // max(1, processes))


def share_of_threads(processes: int) -> int:
    """Threads for one of ``processes``: its share of the cores, and no more than ``OMP_NUM_THREADS`` says, which is how whoever
    starts more of us at once tells each. Threads in excess of the cores wait for each other by spinning."""
    asked = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()  # one number a level of nesting
    share = share_of_cores(processes)
    return min(share, int(asked)) if asked.isdecimal() and int(asked) else share


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


def _timeouts(text: str, source: str) -> Mapping[Stage, float]:
    """The seconds by stage that were asked for, from ``120`` for all of them or ``export=900,run=30`` for some."""
    timeouts: dict[Stage, float] = {}
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
    _check_limit(seconds, word, source)
    return seconds


def _check_limit(seconds: float, word: str, source: str) -> None:
    if not 0 <= seconds < float("inf"):
        raise pytest.UsageError(f"{source}: {word!r}: a limit is zero (none) or a positive number of seconds")


def check_timeouts(timeouts: Mapping[Stage, float], source: str) -> None:
    """Check the limits that a hardware declares.

    Raises:
        pytest.UsageError: one is of no stage, or is none.
    """
    for stage, seconds in timeouts.items():
        if stage not in STAGE_SECONDS:
            raise pytest.UsageError(f"{source}: {stage!r} is not a stage{nearest(stage, STAGE_SECONDS)}")
        _check_limit(seconds, f"{stage}={seconds}", source)


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
