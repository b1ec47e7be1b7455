"""The spawned process that runs cases, seen from pytest: deadline, crash, memory.

Native code can hang with the interpreter lock held or take its process down, so it never runs in pytest's own. The host is
spawned, never forked; it lives in a process group of its own, takes one case after another over a pipe, says which stage it
enters, and is killed as a group when a stage takes too long.
"""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import IO, Any, Protocol

import msgspec

from .settings import STAGE_SECONDS
from .specs import SCRATCH, Job
from .verdict import DEPARTURE, Outcome, Stage, Verdict
from .wire import read_frame, write_frame

RUNNER = "pytest_ipfs_accelerate.runner:run_case"
TAIL = 4000
"""Characters of the host's own output that join the verdict of a crash."""
GRACE = 2
"""Seconds that a process which is ending gets before it is killed."""
LARGEST = 3 * 2**30
"""Bytes at which a host is replaced between two cases. Tracing and lowering leave something behind each time: 2 MB an export of
a tiny bert, 1.7 GB after forty exports of larger graphs; and as many hosts run as xdist has workers."""


class CaseHost(Protocol):
    """Something that runs cases."""

    def run(self, job: Job) -> Verdict: ...

    def close(self) -> None: ...


class InProcess:
    """Runs cases here, for a debugger: a crash or a hang is pytest's own."""

    def __init__(self, target: str = RUNNER) -> None:
        self.target = target

    def run(self, job: Job) -> Verdict:
        module, _, name = self.target.partition(":")
        verdict: Verdict = getattr(import_module(module), name)(job, lambda stage: None)
        return verdict

    def close(self) -> None:
        """Nothing to close."""


class Host:
    """Runs cases in a spawned process, a fresh one after each that died, and after one that has grown large.

    ``target`` is the import path of the function that runs a case, ``(job, enter) -> Verdict``; ``timeouts`` are seconds by
    stage where a job has none of its own, 0 for no limit; with ``network`` it may ask the Hub, where the user's environment
    does not forbid it.
    """

    def __init__(
        self,
        *,
        timeouts: Mapping[Stage, float] = STAGE_SECONDS,
        threads: int = 1,
        target: str = RUNNER,
        network: bool = False,
    ) -> None:
        self.timeouts = timeouts
        self.threads = threads
        self.target = target
        self.network = network
        self._process: subprocess.Popen[bytes] | None = None
        self._events: queue.SimpleQueue[tuple[str, Any] | None] = queue.SimpleQueue()
        self._log: IO[bytes] | None = None
        self._scratch: tempfile.TemporaryDirectory[str] | None = None
        self._standing: Verdict | None = None

    def run(self, job: Job) -> Verdict:
        """The verdict of one case, however it ends. One that stands already is not lost where the process dies over its
        explanation."""
        self._standing = None
        ended = self._verdict(job)
        if self._standing is None or ended.outcome not in (Outcome.CRASHED, Outcome.TIMED_OUT):
            return ended
        failed = {"text": f"explanation failed: {ended.reason}"}
        return replace(self._standing, evidence={**self._standing.evidence, DEPARTURE: failed}, detail=ended.detail)

    def _verdict(self, job: Job) -> Verdict:
        process = self._started()
        kills = oom_kills()
        stage = Stage.BUILD
        try:
            self._send(process, job)
            while True:
                kind, content = self._next(self._limit(job, stage))
                if kind == "verdict":
                    verdict = msgspec.convert(content, Verdict)
                    if resident_bytes(process.pid) > LARGEST:
                        self.close()  # the next case gets a fresh one
                    return verdict
                if kind == "stands":
                    self._standing = msgspec.convert(content, Verdict)
                else:
                    stage = Stage(content)
        except TimeoutError:
            if process.poll() is not None:
                # It died long ago, and a child of its own held the pipe open.
                return self._crashed(job, stage, process, kills)
            return self._timed_out(job, stage, process)
        except (EOFError, BrokenPipeError):
            return self._crashed(job, stage, process, kills)
        except BaseException:
            # Ctrl-C, or pytest being torn down: nothing may be left running.
            self.close()
            raise

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            self.close()
            # A file, not a pipe: a runtime that writes much must not block on a reader that waits for a verdict.
            self._log = tempfile.TemporaryFile()  # noqa: SIM115
            self._scratch = tempfile.TemporaryDirectory(prefix="ipfs-host-", ignore_cleanup_errors=True)
            self._process = subprocess.Popen(
                [sys.executable, "-m", f"{__package__}.host_main", self.target],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log,
                env=self._environment(),
                start_new_session=True,
            )
            self._events = queue.SimpleQueue()
            arguments = (self._process.stdout, self._events)
            threading.Thread(target=_forward, args=arguments, daemon=True).start()
        return self._process

    def _environment(self) -> dict[str, str]:
        """Ours, with the same import path, a network only where it was asked for, and no more threads than our share of the
        cores."""
        threads = str(self.threads)
        pools = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
        return {
            "HF_HUB_OFFLINE": "0" if self.network else "1",
            "TRANSFORMERS_VERBOSITY": "error",
            "TOKENIZERS_PARALLELISM": "false",
            **os.environ,
            **dict.fromkeys(pools, threads),
            **({SCRATCH: self._scratch.name} if self._scratch else {}),
            "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path),
        }

    def _send(self, process: subprocess.Popen[bytes], job: Job) -> None:
        assert process.stdin is not None
        write_frame(process.stdin, job)

    def _limit(self, job: Job, stage: Stage) -> float:
        """Seconds for a stage of a job, 0 for no limit."""
        return job.timeouts.get(stage, self.timeouts[stage])

    def _next(self, seconds: float) -> tuple[str, Any]:
        try:
            event = self._events.get(timeout=seconds or None)
        except queue.Empty:
            raise TimeoutError from None
        if event is None:
            raise EOFError
        return event

    def _timed_out(self, job: Job, stage: Stage, process: subprocess.Popen[bytes]) -> Verdict:
        # Its fault handler answers SIGABRT with the stack, also while native code holds the interpreter lock.
        process.send_signal(signal.SIGABRT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=GRACE)
        output = self._output()
        self.close()
        limit = self._limit(job, stage)
        return self._ended(job, Outcome.TIMED_OUT, stage, f"no answer within {limit:g} s; killed", output)

    def _crashed(self, job: Job, stage: Stage, process: subprocess.Popen[bytes], kills: int) -> Verdict:
        try:
            reason = describe_exit(process.wait(timeout=GRACE), out_of_memory=oom_kills() > kills)
        except subprocess.TimeoutExpired:
            reason = f"the process closed its pipe, or wrote what is no frame, and did not end within {GRACE} s; killed"
        output = self._output()
        self.close()
        return self._ended(job, Outcome.CRASHED, stage, reason, output)

    def _output(self) -> str:
        """The end of what the host wrote to its standard output and error."""
        if self._log is None:
            return ""
        size = self._log.seek(0, os.SEEK_END)
        self._log.seek(max(0, size - TAIL))
        return self._log.read().decode(errors="replace")

    @staticmethod
    def _ended(job: Job, outcome: Outcome, stage: Stage, reason: str, detail: str = "") -> Verdict:
        case = job.case
        return Verdict(
            **case._asdict(),
            outcome=outcome,
            stage=stage,
            precision=job.precision,
            reason=f"in stage {stage}: {reason}",
            detail=detail,
        )

    def close(self) -> None:
        """Kill the process and everything that it started."""
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL) if hasattr(os, "killpg") else process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                with contextlib.suppress(BrokenPipeError):
                    if pipe is not None:
                        pipe.close()
        if self._log is not None:
            self._log.close()
            self._log = None
        if self._scratch is not None:
            self._scratch.cleanup()
            self._scratch = None


def _forward(stream: IO[bytes], events: queue.SimpleQueue[tuple[str, Any] | None]) -> None:
    """Put every frame of a stream into a queue, and ``None`` at its end: a queue can be waited for with a deadline
    everywhere, a pipe cannot."""
    with contextlib.suppress(EOFError, ValueError, OSError):
        while True:
            events.put(read_frame(stream))
    events.put(None)


def describe_exit(code: int, *, out_of_memory: bool) -> str:
    """What an exit status says of a process that was not asked to end."""
    if code >= 0:
        return f"the process ended with exit status {code}"
    name = signal.Signals(-code).name
    if -code != signal.SIGKILL:
        return f"the process was ended by {name}"
    if out_of_memory:
        return f"the process was ended by {name}: the kernel killed it, out of memory"
    return f"the process was ended by {name}, from outside (the kernel counted no out-of-memory kill)"


def resident_bytes(pid: int) -> int:
    """How much memory a process holds; 0 where the system does not say."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return 0


def oom_kills() -> int:
    """How many processes the kernel has killed for memory: in this control group where it is counted, else on the machine;
    0 where neither is known."""
    for path, key in (("/sys/fs/cgroup/memory.events", "oom_kill"), ("/proc/vmstat", "oom_kill")):
        with contextlib.suppress(OSError):
            for line in Path(path).read_text().splitlines():
                name, _, number = line.partition(" ")
                if name == key:
                    return int(number)
    return 0
