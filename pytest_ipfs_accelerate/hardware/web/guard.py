"""Runs one program and ends it with everything that it started when the process that wanted it goes, however that goes.

Called as a script, ``guard.py READ WRITE DIRECTORY PROGRAM ARGUMENT…``: the program gets the two descriptors as its 3 and 4,
where a browser speaks its DevTools protocol. Standard input is a pipe whose other end the process that wants the program holds
and never writes to: it ends with that process, by SIGKILL too. The directory (the profile) is removed last.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading


def _end_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def main(read: int, write: int, directory: str, command: list[str]) -> int:
    """The exit status of the program, negative where a signal ended it."""
    # Out of the way first: one of them may be 3 or 4.
    spare = [os.dup(read), os.dup(write)]
    while min(spare) < 5:
        spare = [os.dup(number) for number in spare]
    os.dup2(spare[0], 3)
    os.dup2(spare[1], 4)
    try:
        browser = subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=(3, 4), start_new_session=True)
        os.closerange(3, max(read, write, *spare) + 1)  # else this process would hold the pipes of a dead browser open

        def watch() -> None:
            sys.stdin.buffer.read()
            _end_group(browser.pid)

        threading.Thread(target=watch, daemon=True).start()
        status = browser.wait()
        _end_group(browser.pid)
        return status
    finally:
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    status = main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4:])
    os._exit(status if status >= 0 else 128 - status)
