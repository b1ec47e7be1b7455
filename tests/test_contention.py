"""Who had the machine: read from files of the system that a test can write."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from pytest_ipfs_accelerate import contention
from pytest_ipfs_accelerate.contention import Sample, between, sample


def test_rates_are_by_second_between_two_samples() -> None:
    before = Sample(clock=10.0, waited=1.0, others=5.0)
    assert between(before, Sample(clock=14.0, waited=3.0, others=11.0)) == (0.5, 1.5)
    assert between(before, Sample(clock=14.0, waited=None, others=4.99)) == (None, 0.0)
    assert between(before, before) == (None, None)


def test_what_threads_waited_and_others_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for thread, waited in (("1", 2_000_000_000), ("2", 500_000_000)):
        (tmp_path / thread).mkdir()
        (tmp_path / thread / "schedstat").write_text(f"77 {waited} 9\n")
    (tmp_path / "3").mkdir()  # it ended between the listing and the reading
    cores = "".join(f"cpu{core} 100 10 40 1000 50 20 20 10 0 0\n" for core in range(2))
    (tmp_path / "stat").write_text(f"cpu 9 9 9 9 9 9 9 9\n{cores}intr 5\n")
    monkeypatch.setattr(contention, "TASKS", tmp_path)
    monkeypatch.setattr(contention, "STAT", tmp_path / "stat")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {1}, raising=False)
    monkeypatch.setattr(time, "process_time", lambda: 0.5)
    ticks = os.sysconf("SC_CLK_TCK")
    found = sample()
    assert found.waited == 2.5
    assert found.others == 200 / ticks - 0.5, "of the one core that it may use, what was not idle, less its own"


def test_a_system_that_does_not_say(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(contention, "TASKS", tmp_path / "none")
    monkeypatch.setattr(contention, "STAT", tmp_path / "none")
    assert (sample().waited, sample().others) == (None, None)
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    assert sample().others is None
