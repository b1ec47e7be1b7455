"""Declarations that cross from the pytest process to the host process: hardware, tasks, recipes and jobs.

Whoever adds a hardware or a task *declares* it here in light objects. The code that needs torch or a runtime is named by
an import path (``"package.module:Class"``) and imported by the host alone, so that planning a run never pays for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .matrix import Case
from .verdict import Implementation, Stage

SCRATCH = "IPFS_HOST_SCRATCH"
"""Environment variable of a host: a directory for what a case leaves on disk, which goes with the host however that ends. The
caches that libraries keep among temporary files stay where they are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Availability:
    """What a probe found: whether a hardware can run here, and on what.

    ``reason`` says why not, in words that tell the user what to do; ``device`` names what was found.
    """

    available: bool
    reason: str = ""
    device: str = ""
    implementation: Implementation = Implementation.REAL


@dataclass(frozen=True, slots=True, kw_only=True)
class HardwareSpec:
    """A hardware of the matrix.

    ``name`` is a lower-case identifier (no hyphen: it ends a node id). ``target`` is the import path of a
    :class:`pytest_ipfs_accelerate.hardware.base.Hardware`. ``probe`` runs in the pytest process in about a millisecond:
    files, ``find_spec`` and ctypes only, never an import of a runtime. ``precisions`` are those that it can be asked for, its
    own first; ``devices`` is a regular expression for the names of its devices, empty where it has one. One that is not
    ``default`` runs only where it is named. ``timeouts`` are the limits, in seconds, of the stages that are slower here than
    anywhere else: on a simulator, or where a component is lowered as it is called.
    """

    name: str
    target: str
    probe: Callable[[], Availability]
    summary: str = ""
    precisions: tuple[str, ...] = ("fp32",)
    devices: str = ""
    default: bool = True
    timeouts: Mapping[Stage, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSpec:
    """A task of the matrix.

    ``target`` is the import path of a :class:`pytest_ipfs_accelerate.tasks.base.Task`; ``aliases`` are older names of the
    same task that selections and pipeline maps may use.
    """

    name: str
    target: str
    aliases: tuple[str, ...] = ()
    summary: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointSource:
    """Where a real checkpoint is: ``kind`` is ``directory``, ``cache`` (the local Hugging Face cache alone) or ``hub`` (which
    may be downloaded from), ``place`` the directory or the Hub id, empty where the registry names none, and ``revision`` a
    branch, tag or commit of the Hub. Once it is loaded, ``digest`` is that of its weights, and ``revision`` its state."""

    kind: str
    place: str
    revision: str = ""
    digest: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What the registry says of one model × task: all that is needed to build its checkpoint and inputs.

    ``config`` holds the exact keyword arguments of ``config_class``; a nested dict with a ``"class"`` key is a nested
    config. ``part`` names the nested config that the class is built from, where it is not the whole. ``processor`` is read by
    :mod:`pytest_ipfs_accelerate.models.processors`, and is ``None`` where there is none that works offline; ``inputs`` is read
    by the task. ``proposed`` says why the row was proposed on the spot and does not stand in the registry. With a
    ``checkpoint`` the class is loaded from there instead, with its own config and processor.
    """

    model: str
    category: str
    model_class: str
    config_class: str
    config: Mapping[str, Any]
    processor: Mapping[str, Any] | None
    inputs: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    hub: str = ""
    needs: tuple[str, ...] = ()
    part: str = ""
    proposed: str = ""
    checkpoint: CheckpointSource | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SkillSource:
    """Where a skill class of the user's stands: class ``name`` in ``file``. ``root`` is the directory that must be on
    ``sys.path`` to import it as ``module``; ``module`` is empty where no import can reach it. ``line`` is that of the class, 0
    where its file does not show one; ``unplaced`` are its factories for which its model type has no task."""

    name: str
    file: str
    root: str
    module: str
    line: int = 0
    unplaced: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """What to time of a case that passes: calls on each of these ``batches`` of inputs, for so many ``seconds`` in all.
    ``workers`` is how many processes run cases at once."""

    batches: tuple[int, ...] = (1,)
    seconds: float = 5.0
    workers: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One case, with everything that the host process needs to run it: the host reads no registry and loads no plugin.

    ``precision`` and ``device`` are what the hardware is asked for, its own where they are empty; with ``allow_fallback`` some
    of it may run elsewhere; with ``explain`` a case that fails parity says where it first departs. ``cache_dir`` is the
    directory of the store, at most ``cache_size`` bytes large; with 0 nothing is kept. ``skill`` is the class of the user's
    that is checked in place of our own, and ``words`` are those that its factories may have for the task.
    ``measure`` says what is timed, ``None`` where nothing is. ``timeouts`` are the limits, in seconds, of stages for which the
    host's do not hold.
    """

    case: Case
    recipe: Recipe
    hardware: str
    task: str
    threads: int = 1
    precision: str = ""
    device: str = ""
    allow_fallback: bool = False
    explain: bool = False
    cache_dir: str = ""
    cache_size: int = 0
    skill: SkillSource | None = None
    words: tuple[str, ...] = ()
    measure: Measure | None = None
    timeouts: Mapping[Stage, float] = field(default_factory=dict)
