"""The options: what each is called on the command line, in the environment and in the ini file, and what was asked for where.

One precedence for all of them: the command line, then the environment (``PYTEST_IPFS_<NAME>``), then the ini file
(``ipfs_<name>``), then the default. Every run declares them, so this module imports nothing but pytest.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple

import pytest

ISOLATION = ("process", "none")

WEIGHTS = ("tiny", "cache", "hub")

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
    Option(
        "bench",
        Kind.FLAG,
        "",
        "time every case that passes: latency, throughput, time to load and compile, memory, tokens a second",
    ),
    Option("bench-batch", Kind.LIST, "N,…", "batch sizes to time: 1,4,8 (default: 1)"),
    Option(
        "bench-seconds",
        Kind.TEXT,
        "SECONDS",
        "how long to time a case whose median does not settle before (default: 5)",
    ),
    Option("bench-save", Kind.TEXT, "FILE", "write the numbers to a baseline, in the place of those of the same cases"),
    Option("bench-compare", Kind.TEXT, "FILE", "hold the numbers against a baseline: a case that is slower has failed"),
    Option(
        "bench-threshold",
        Kind.TEXT,
        "PERCENT",
        "by how much a median must have grown, beyond the noise, to be called slower (default: 10)",
    ),
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


def given(config: pytest.Config, option: Option) -> Given | None:
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
    return any(given(config, option) is not None for option in OPTIONS)


def asked_to_list(config: pytest.Config) -> bool:
    """Whether the selection is to be printed and nothing run."""
    asked = given(config, next(option for option in OPTIONS if option.name == "list"))
    return asked is not None and bool(asked.value)
