"""Runners that end badly on purpose: what a host must survive. Each is a ``run_case``."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import struct
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from typing import NoReturn

from pytest_ipfs_accelerate.specs import SCRATCH, Job
from pytest_ipfs_accelerate.verdict import Outcome, Stage, Verdict

Enter = Callable[[Stage | Verdict], None]


def leaves_files(job: Job, enter: Enter) -> NoReturn:
    """Exits in the middle of its work on disk, whose place it says last."""
    directory = tempfile.mkdtemp(dir=os.environ[SCRATCH])
    print(directory, file=sys.stderr, flush=True)
    os._exit(3)


def passes(job: Job, enter: Enter) -> Verdict:
    """Tells its process id, the threads that it was given and what it was told to import."""
    enter(Stage.RUN)
    evidence = {
        "pid": os.getpid(),
        "OMP_NUM_THREADS": os.environ["OMP_NUM_THREADS"],
        "HF_HUB_OFFLINE": os.environ["HF_HUB_OFFLINE"],
        "recipe": job.recipe.model_class,
    }
    print("noise on standard output must not break the wire")
    case = job.case
    return Verdict(
        model=case.model,
        task=case.task,
        hardware=case.hardware,
        outcome=Outcome.PASSED,
        stage=Stage.BATCH,
        evidence=evidence,
    )


def takes_three_seconds(job: Job, enter: Enter) -> Verdict:
    enter(Stage.RUN)
    time.sleep(3)
    return passes(job, enter)


def segfaults(job: Job, enter: Enter) -> Verdict:
    enter(Stage.LOWER)
    ctypes.string_at(0)
    return passes(job, enter)


def is_killed(job: Job, enter: Enter) -> Verdict:
    enter(Stage.EXPORT)
    os.kill(os.getpid(), signal.SIGKILL)
    return passes(job, enter)


def dies_explaining(job: Job, enter: Enter) -> Verdict:
    verdict = replace(passes(job, enter), outcome=Outcome.FAILED, stage=Stage.PARITY, reason="1 of 1 comparisons")
    enter(verdict)
    return segfaults(job, lambda stage: None)


def hangs_explaining(job: Job, enter: Enter) -> Verdict:
    enter(Stage.PARITY)
    enter(
        replace(
            passes(job, lambda stage: None), outcome=Outcome.FAILED, stage=Stage.PARITY, reason="1 of 1 comparisons"
        )
    )
    time.sleep(600)
    return passes(job, enter)


def exits(job: Job, enter: Enter) -> Verdict:
    enter(Stage.RUN)
    print("last words", file=sys.stderr, flush=True)
    os._exit(3)


def hangs(job: Job, enter: Enter) -> Verdict:
    """With the interpreter lock held, as a native deadlock holds it, and with a child of its own."""
    enter(Stage.RUN)
    child = os.fork()
    if child == 0:
        time.sleep(60)
        os._exit(0)
    print(f"child {child}", file=sys.stderr, flush=True)
    ctypes.PyDLL(None).sleep(60)
    return passes(job, enter)


def leaves_a_child(job: Job, enter: Enter) -> Verdict:
    """Dies while a child of its own holds every pipe open."""
    enter(Stage.RUN)
    if os.fork() == 0:
        time.sleep(60)
        os._exit(0)
    os.kill(os.getpid(), signal.SIGSEGV)
    return passes(job, enter)


def never_ends(job: Job, enter: Enter) -> Verdict:
    """Closes its pipes and stays."""
    enter(Stage.RUN)
    os.closerange(3, 64)
    time.sleep(60)
    return passes(job, enter)


def interrupts(job: Job, enter: Enter) -> Verdict:
    """The user presses Ctrl-C while a case runs."""
    return signals_pytest(job, enter, signal.SIGINT)


def orphans(job: Job, enter: Enter) -> Verdict:
    """Pytest is killed while a case runs."""
    return signals_pytest(job, enter, signal.SIGKILL)


def signals_pytest(job: Job, enter: Enter, number: signal.Signals) -> Verdict:
    """Leaves the process id of the host in a file, and then hangs."""
    enter(Stage.RUN)
    with open("host.pid", "w") as file:
        file.write(str(os.getpid()))
    os.kill(os.getppid(), number)
    time.sleep(60)
    return passes(job, enter)


def babbles(job: Job, enter: Enter) -> Verdict:
    """Writes what is no frame where the answers go, and lives on."""
    enter(Stage.RUN)
    for descriptor in range(3, 20):
        with contextlib.suppress(OSError):
            os.write(descriptor, struct.pack("!I", 5) + b"hello")
    time.sleep(60)
    return passes(job, enter)


def raises(job: Job, enter: Enter) -> NoReturn:
    enter(Stage.BUILD)
    raise RuntimeError("no such thing")


def by_task(job: Job, enter: Enter) -> Verdict:
    """One of the above for each task of bert, so that one run holds them all."""
    ends = {
        "fill-mask": passes,
        "feature-extraction": segfaults,
        "text-classification": is_killed,
        "token-classification": exits,
        "question-answering": hangs,
        "multiple-choice": raises,
        "next-sentence-prediction": interrupts,
        "pretraining": orphans,
    }
    return ends[job.case.task](job, enter)
