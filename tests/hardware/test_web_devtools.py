"""A browser over its DevTools pipe, played by a program that misbehaves; and that nothing outlives who wanted it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pytest_ipfs_accelerate.hardware.web.devtools import Browser, BrowserFailed

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="a browser is driven over pipes, on Linux and macOS")


@pytest.fixture
def fake(tmp_path: Path) -> str:
    program = tmp_path / "fake-browser"
    script = Path(__file__).with_name("fake_browser.py")
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{script}" "$@"\n', "utf-8")
    program.chmod(0o755)
    return str(program)


@pytest.fixture
def started(fake: str) -> Iterator[Callable[[str], Browser]]:
    browsers: list[Browser] = []

    def start(mode: str) -> Browser:
        browsers.append(Browser(fake, [f"--mode={mode}"]))
        return browsers[-1]

    yield start
    for browser in browsers:
        browser.close()


def test_a_command_gets_its_own_answer(started: Callable[[str], Browser]) -> None:
    browser = started("plain")
    assert browser.version == "Fake/1.0"
    page = browser.open("http://127.0.0.1/")
    assert page.call("abc") == "abcabcabc"
    long = "x" * 300_000
    assert page.call(long) == long * 3
    with pytest.raises(BrowserFailed, match=r"^Error: oh$"):
        page.call("throw")
    with pytest.raises(BrowserFailed, match=r"^Target\.unknown: no such method$"):
        browser.command("Target.unknown")
    assert page.call("after") == "after" * 3


def test_a_browser_that_ends_says_what_it_said(started: Callable[[str], Browser]) -> None:
    with pytest.raises(BrowserFailed, match=r"the browser ended in Target\.createTarget: no display"):
        started("dies").open("http://127.0.0.1/")


def test_a_page_that_crashes_is_an_error_and_stays_one(started: Callable[[str], Browser]) -> None:
    page = started("crashes").open("http://127.0.0.1/")
    with pytest.raises(BrowserFailed, match=r"the page crashed in Runtime\.evaluate"):
        page.call("1")
    with pytest.raises(BrowserFailed, match=r"the page crashed before Runtime\.evaluate"):
        page.call("1")


def test_what_is_no_browser(tmp_path: Path) -> None:
    with pytest.raises(BrowserFailed, match=r"the browser ended in Browser\.getVersion"):
        Browser("/bin/true")


HOLDER = """
import sys, time
from pytest_ipfs_accelerate.hardware.web.devtools import Browser
browser = Browser(sys.argv[1], ["--mode=deaf"])
print(browser._guard.args[6], flush=True)
time.sleep(600)
"""


def running(profile: str) -> list[str]:
    """The processes whose command line names a profile."""
    listed = subprocess.run(["ps", "-Awwo", "args"], capture_output=True, text=True, check=True).stdout.splitlines()
    return [line for line in listed if profile in line]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "terminated"])
def test_nothing_outlives_the_process_that_wanted_a_browser(fake: str, number: int) -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, fake], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    profile = holder.stdout.readline().strip()
    assert Path(profile).is_dir()
    assert len(running(profile)) >= 3, "the guard, the browser that ignores the end of its pipe, and a child of it"
    os.kill(holder.pid, number)
    holder.wait()
    holder.stdout.close()
    limit = time.monotonic() + 20
    while (running(profile) or Path(profile).exists()) and time.monotonic() < limit:
        time.sleep(0.05)
    assert running(profile) == []
    assert not Path(profile).exists()


def test_a_closed_browser_leaves_nothing(started: Callable[[str], Browser]) -> None:
    browser = started("deaf")
    profile = browser._guard.args[6]  # type: ignore[index]
    assert running(str(profile))
    browser.close()
    assert running(str(profile)) == []
    assert not Path(str(profile)).exists()
