"""Exceptions that a class catches and says nothing of.

A trace function sees an exception in every frame that it is raised in or passes through. Only the frames of the user's own
files are looked at: what a library raises and handles by itself never enters them, and is the library's affair.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from ..findings import Check, Finding

_SIGNALS = (StopIteration, StopAsyncIteration, GeneratorExit)
"""Exceptions that the language itself uses to say that something ended."""

_OTHERS = ("site-packages", "dist-packages")


@dataclass(frozen=True, slots=True)
class Seen:
    """An exception in the innermost of the user's frames."""

    error: BaseException
    file: str
    line: int


class Watch:
    """What was seen of exceptions in the files below one directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.seen: list[Seen] = []
        self._own: dict[str, bool] = {}

    def trace(self, frame: FrameType, event: str, argument: Any) -> Callable[..., Any] | None:
        """The trace function of every new frame: nothing for those of others."""
        if not self.owns(frame.f_code.co_filename):
            return None
        frame.f_trace_lines = False
        return self._within

    def _within(self, frame: FrameType, event: str, argument: Any) -> Callable[..., Any]:
        if event == "exception":
            error = argument[1]
            # It passes from the inside out: the first frame of the user's is the innermost.
            new = not any(one.error is error for one in self.seen)
            if new and isinstance(error, BaseException) and not isinstance(error, _SIGNALS):
                self.seen.append(Seen(error, frame.f_code.co_filename, frame.f_lineno))
        return self._within

    def owns(self, name: str) -> bool:
        """Whether a source file is one of the user's."""
        if name not in self._own:
            path = Path(name)
            below = path.relative_to(self.directory).parts if path.is_relative_to(self.directory) else ()
            self._own[name] = bool(below) and not any(part in _OTHERS for part in below)
        return self._own[name]

    def swallowed(self, raised: BaseException | None = None) -> list[Seen]:
        """What did not come out: neither as ``raised`` nor as a cause of it."""
        out = set()
        while raised is not None and id(raised) not in out:
            out.add(id(raised))
            raised = raised.__cause__ or raised.__context__
        found: dict[tuple[type, str, int], Seen] = {}
        for one in self.seen:
            # One that was raised from another says that one, too.
            if id(one.error) not in out:
                found.setdefault((type(one.error), one.file, one.line), one)
        return list(found.values())


@contextmanager
def watching(directory: Path) -> Iterator[Watch]:
    """Look at the exceptions in the files below a directory, in this thread and in those that begin meanwhile. A trace function
    that was there before is put aside for as long."""
    watch = Watch(directory)
    before, before_threads = sys.gettrace(), threading.gettrace()
    threading.settrace(watch.trace)
    sys.settrace(watch.trace)
    try:
        yield watch
    finally:
        sys.settrace(before)
        threading.settrace(before_threads)


def as_findings(swallowed: list[Seen], when: str) -> list[Finding]:
    """A note for each; ``when`` says what was going on."""
    return [
        Finding(
            check=Check.SWALLOWED,
            says=f"{when} {_described(one.error)} was raised, caught and not passed on",
            file=one.file,
            line=one.line,
            note=True,
        )
        for one in swallowed
    ]


def _described(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__
