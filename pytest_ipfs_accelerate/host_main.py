"""The host process: takes jobs from its standard input, runs them, and answers on what was its standard output."""

from __future__ import annotations

import ctypes
import faulthandler
import os
import signal
import sys
import traceback
from importlib import import_module

from .specs import Job
from .verdict import Outcome, Stage, Verdict
from .wire import read_frame, write_frame


def serve(target: str) -> None:
    """Run every job of standard input with the function at an import path, until the input ends."""
    jobs = os.fdopen(os.dup(0), "rb")
    answers = os.fdopen(os.dup(1), "wb")
    # Whatever prints from here on goes where the parent keeps it, never between the frames.
    os.dup2(2, 1)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    faulthandler.enable()
    die_with_parent()
    while True:
        try:
            job = read_frame(jobs, Job)
        except EOFError:
            return
        stage = Stage.BUILD

        def enter(entered: Stage | Verdict) -> None:
            nonlocal stage
            if isinstance(entered, Verdict):
                write_frame(answers, ("stands", entered))
            else:
                stage = entered
                write_frame(answers, ("stage", entered))

        try:
            module, _, name = target.partition(":")
            verdict = getattr(import_module(module), name)(job, enter)
        except Exception as error:
            # The one boundary where anything becomes a verdict: a runner that cannot even be imported, or lets one through.
            verdict = _raised(job, stage, error)
        write_frame(answers, ("verdict", verdict))


def die_with_parent() -> None:
    """Where the kernel offers it, end when pytest does: one that is killed cannot kill its host, and a case that hangs never
    comes back to see that its input has ended."""
    if sys.platform == "linux":
        set_parent_death_signal = 1  # PR_SET_PDEATHSIG of linux/prctl.h
        ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)


def _raised(job: Job, stage: Stage, error: Exception) -> Verdict:
    return Verdict(
        **job.case._asdict(),
        outcome=Outcome.FAILED,
        stage=stage,
        reason=f"{type(error).__name__}: {error}",
        exception=type(error).__name__,
        detail="".join(traceback.format_exception(error)),
    )


if __name__ == "__main__":
    serve(sys.argv[1])
