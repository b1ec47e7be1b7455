"""A headless browser over the pipe of its DevTools protocol: no port, no library, and it ends when the pipe does."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Sequence
from typing import IO, Any

from . import guard

FLAGS = (
    "--headless",
    "--remote-debugging-pipe",
    "--no-first-run",
    "--no-default-browser-check",
    # Nothing of its own accord over a network: a run downloads nothing.
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-domain-reliability",
    "--disable-extensions",
    "--disable-sync",
    "--no-pings",
    "--metrics-recording-only",
    "--proxy-server=127.0.0.1:9",
    "--proxy-bypass-list=127.0.0.1",
    "--disable-breakpad",
    # /dev/shm of a container is often 64 MB.
    "--disable-dev-shm-usage",
)
TAIL = 600
"""Characters of the browser's own output that a failure quotes."""


class BrowserFailed(RuntimeError):
    """The browser or its page ended, or did not do what was asked of it."""


class Browser:
    """A browser process, which lives as long as this object and this process at most.

    Raises:
        BrowserFailed: it does not start.
    """

    def __init__(self, executable: str, arguments: Sequence[str] = ()) -> None:
        profile = tempfile.mkdtemp(prefix="pytest-ipfs-browser-")
        self._log = tempfile.TemporaryFile()  # noqa: SIM115
        (read, our_write), (our_read, write) = os.pipe(), os.pipe()
        # A root user, as in a container, has no sandbox; and what runs here is ours alone.
        sandbox = ["--no-sandbox"] if getattr(os, "geteuid", lambda: 1)() == 0 else []
        command = [executable, *FLAGS, *sandbox, f"--user-data-dir={profile}", *arguments, "about:blank"]
        self._guard = subprocess.Popen(
            [sys.executable, "-I", "-S", guard.__file__, str(read), str(write), profile, *command],
            stdin=subprocess.PIPE,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            pass_fds=(read, write),
            # Killing our process group must leave it time to clear up.
            start_new_session=True,
        )
        os.close(read)
        os.close(write)
        self._requests: IO[bytes] = os.fdopen(our_write, "wb", buffering=0)
        self._answers: IO[bytes] = os.fdopen(our_read, "rb")
        self._number = 0
        self._crashed: set[str] = set()
        self.close = weakref.finalize(self, _close, self._guard, self._requests, self._answers)
        self.version: str = self.command("Browser.getVersion")["product"]

    def command(self, method: str, session: str = "", **parameters: Any) -> Any:
        """The result of one command, to the browser or to a page by its session. Waits without limit: the stages of a case
        have theirs.

        Raises:
            BrowserFailed: the browser refuses it, ends, or the page crashed.
        """
        if session in self._crashed:
            raise BrowserFailed(f"the page crashed before {method}")
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        try:
            self._requests.write(json.dumps(message | ({"sessionId": session} if session else {})).encode() + b"\0")
            while True:
                answer = self._next()
                if answer.get("method") == "Inspector.targetCrashed":
                    self._crashed.add(answer["sessionId"])
                    if answer["sessionId"] == session:
                        raise BrowserFailed(f"the page crashed in {method}")
                if answer.get("id") == self._number:
                    break
        except (BrokenPipeError, EOFError):
            raise BrowserFailed(f"the browser ended in {method}{self._said()}") from None
        if error := answer.get("error"):
            raise BrowserFailed(f"{method}: {error['message']}")
        return answer["result"]

    def _next(self) -> Any:
        message = bytearray()
        # A message ends with a NUL, and one may be long.
        while not message.endswith(b"\0"):
            chunk = self._answers.peek(1)  # type: ignore[attr-defined]
            if not chunk:
                raise EOFError
            end = chunk.find(b"\0")
            message += self._answers.read(end + 1 if end >= 0 else len(chunk))
        return json.loads(message[:-1])

    def _said(self) -> str:
        size = self._log.seek(0, os.SEEK_END)
        self._log.seek(max(0, size - TAIL))
        said = self._log.read().decode(errors="replace").strip()
        return f": {said}" if said else ""

    @property
    def alive(self) -> bool:
        return self.close.alive and self._guard.poll() is None

    def open(self, url: str) -> Page:
        """A page of its own at an address."""
        return Page(self, url)


def _close(process: subprocess.Popen[bytes], *pipes: IO[bytes]) -> None:
    assert process.stdin is not None
    for pipe in (process.stdin, *pipes):
        with contextlib.suppress(OSError):
            pipe.close()
    process.wait()


class Page:
    """One page, until it is closed or its browser ends."""

    def __init__(self, browser: Browser, url: str) -> None:
        self._browser = browser
        self._target = browser.command("Target.createTarget", url="about:blank")["targetId"]
        self._session = browser.command("Target.attachToTarget", targetId=self._target, flatten=True)["sessionId"]
        browser.command("Inspector.enable", self._session)
        browser.command("Page.navigate", self._session, url=url)

    def call(self, expression: str) -> Any:
        """The value of an expression of JavaScript, of a promise once it is kept; JSON values only.

        Raises:
            BrowserFailed: it throws, or the page or the browser ends.
        """
        answer = self._browser.command(
            "Runtime.evaluate", self._session, expression=expression, awaitPromise=True, returnByValue=True
        )
        if thrown := answer.get("exceptionDetails"):
            error = thrown.get("exception", {})
            raise BrowserFailed(error.get("description") or str(error.get("value")) or thrown["text"])
        return answer["result"].get("value")

    def close(self) -> None:
        self._browser.command("Target.closeTarget", targetId=self._target)
