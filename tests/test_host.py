"""A segmentation fault, a kill, a hang, an exit and an exception each end in one verdict, and the next case runs."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cases import job

from pytest_ipfs_accelerate import host as hosts
from pytest_ipfs_accelerate import settings
from pytest_ipfs_accelerate.host import Host, InProcess, describe_exit
from pytest_ipfs_accelerate.settings import STAGE_SECONDS, share_of_cores, share_of_threads
from pytest_ipfs_accelerate.verdict import DEPARTURE, Outcome, Stage, Verdict

JOB = job("bert", "fill-mask", "cpu")


@pytest.fixture
def host() -> Iterator[Host]:
    host = Host(threads=2)
    yield host
    host.close()


def run(host: Host, target: str) -> Verdict:
    """A case that ends as ``crashers`` says, and then one that passes: whatever happened, the next case runs."""
    host.target = f"crashers:{target}"
    host.close()
    verdict = host.run(JOB)
    process = host._process
    host.target = "crashers:passes"
    if process is None:
        assert host.run(JOB).outcome is Outcome.PASSED
    return verdict


def test_one_process_serves_consecutive_cases(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE")
    host.target = "crashers:passes"
    first, second = host.run(JOB), host.run(JOB)
    assert first.evidence["pid"] == second.evidence["pid"] != os.getpid()
    assert first.evidence["OMP_NUM_THREADS"] == "2"
    assert first.evidence["HF_HUB_OFFLINE"] == "1"
    assert first.evidence["recipe"] == "BertForMaskedLM"


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="this system does not say how large a process is")
def test_a_host_that_has_grown_large_is_replaced_between_cases(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hosts, "LARGEST", 1)
    host.target = "crashers:passes"
    first, second = host.run(JOB), host.run(JOB)
    assert first.outcome is second.outcome is Outcome.PASSED
    assert first.evidence["pid"] != second.evidence["pid"]
    assert hosts.resident_bytes(os.getpid()) > 10_000_000
    assert hosts.resident_bytes(2**30) == 0


@pytest.mark.parametrize(
    ("target", "why"), [("dies_explaining", "SIGSEGV"), ("hangs_explaining", "in stage parity: no answer within 1 s")]
)
def test_a_verdict_outlives_its_explanation(host: Host, target: str, why: str) -> None:
    host.timeouts = {**STAGE_SECONDS, Stage.PARITY: 1}
    verdict = run(host, target)
    assert (verdict.outcome, verdict.stage, verdict.reason) == (Outcome.FAILED, Stage.PARITY, "1 of 1 comparisons")
    assert verdict.evidence["recipe"] == "BertForMaskedLM"
    explained = verdict.evidence[DEPARTURE]["text"]
    assert explained.startswith("explanation failed: ")
    assert why in explained
    assert host.run(JOB).evidence.keys() == verdict.evidence.keys() - {DEPARTURE}, "the next case has none of it"


def test_a_segmentation_fault_names_the_signal_and_the_stage(host: Host) -> None:
    verdict = run(host, "segfaults")
    assert (verdict.outcome, verdict.stage) == (Outcome.CRASHED, Stage.LOWER)
    assert "SIGSEGV" in verdict.reason
    assert "stage lower" in verdict.reason
    assert "crashers.py" in verdict.detail  # faulthandler says where


def test_a_kill_from_outside_is_not_called_out_of_memory(host: Host) -> None:
    verdict = run(host, "is_killed")
    assert (verdict.outcome, verdict.stage) == (Outcome.CRASHED, Stage.EXPORT)
    assert "SIGKILL, from outside" in verdict.reason


def test_a_kill_for_memory_is(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = iter([7, 8])
    monkeypatch.setattr(hosts, "oom_kills", lambda: next(counts, 8))
    host.target = "crashers:is_killed"
    assert "SIGKILL: the kernel killed it, out of memory" in host.run(JOB).reason


def test_an_exit_gives_its_status_and_last_words(host: Host) -> None:
    verdict = run(host, "exits")
    assert (verdict.outcome, verdict.stage) == (Outcome.CRASHED, Stage.RUN)
    assert "exit status 3" in verdict.reason
    assert "last words" in verdict.detail


def test_what_a_process_that_died_left_on_disk_goes_with_it(host: Host) -> None:
    verdict = run(host, "leaves_files")
    place = Path(verdict.detail.split()[-1])
    assert place.parent.name.startswith("ipfs-host-")
    assert not place.exists()
    assert not place.parent.exists()


def test_a_hang_is_killed_with_its_children(host: Host) -> None:
    host.timeouts = {**host.timeouts, Stage.RUN: 1.5}
    started = time.monotonic()
    host.target = "crashers:hangs"
    verdict = host.run(JOB)
    assert time.monotonic() - started < 30
    assert (verdict.outcome, verdict.stage) == (Outcome.TIMED_OUT, Stage.RUN)
    assert "no answer within 1.5 s" in verdict.reason
    child = int(verdict.detail.split("child ")[1].split()[0])
    assert is_gone(child)
    assert "in hangs" in verdict.detail  # the stack at which it hung


@pytest.mark.parametrize(("hosts_own", "jobs_own"), [(60.0, 1.5), (1.5, 60.0)])
def test_a_job_has_its_own_limit_of_a_stage(host: Host, hosts_own: float, jobs_own: float) -> None:
    host.timeouts = {**host.timeouts, Stage.RUN: hosts_own}
    host.target = "crashers:takes_three_seconds"
    verdict = host.run(replace(JOB, timeouts={Stage.RUN: jobs_own}))
    if jobs_own > 3:
        assert verdict.outcome is Outcome.PASSED
    else:
        assert (verdict.outcome, verdict.stage) == (Outcome.TIMED_OUT, Stage.RUN)
        assert "no answer within 1.5 s" in verdict.reason


def test_a_death_is_no_hang_though_a_child_holds_the_pipe(host: Host) -> None:
    host.timeouts = {**host.timeouts, Stage.RUN: 1.5}
    verdict = run(host, "leaves_a_child")
    assert (verdict.outcome, verdict.stage) == (Outcome.CRASHED, Stage.RUN)
    assert "SIGSEGV" in verdict.reason


def test_a_process_that_closes_its_pipe_and_stays_is_killed(host: Host) -> None:
    started = time.monotonic()
    verdict = run(host, "never_ends")
    assert time.monotonic() - started < 30
    assert verdict.outcome is Outcome.CRASHED
    assert "did not end within 2 s" in verdict.reason


def is_gone(pid: int) -> bool:
    """Whether a process has ended (one that nobody reaps yet is a zombie)."""
    for _ in range(50):
        try:
            with open(f"/proc/{pid}/stat") as stat:
                if stat.read().rpartition(")")[2].split()[0] == "Z":
                    return True
        except FileNotFoundError:
            return True
        time.sleep(0.05)
    return False


def test_a_broken_wire_is_a_crash_and_not_a_hang(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hosts, "GRACE", 0.5)
    verdict = run(host, "babbles")
    assert verdict.outcome is Outcome.CRASHED
    assert "no frame" in verdict.reason


def test_no_limit_is_no_limit(host: Host) -> None:
    host.timeouts = dict.fromkeys(host.timeouts, 0)
    host.target = "crashers:passes"
    assert host.run(JOB).outcome is Outcome.PASSED


def test_an_exception_that_escapes_the_runner_is_a_verdict(host: Host) -> None:
    verdict = run(host, "raises")
    assert (verdict.outcome, verdict.stage) == (Outcome.FAILED, Stage.BUILD)
    assert verdict.reason == "RuntimeError: no such thing"
    assert "Traceback" in verdict.detail


def test_a_runner_that_is_not_there_is_a_verdict(host: Host) -> None:
    verdict = run(host, "nothing_of_that_name")
    assert verdict.outcome is Outcome.FAILED
    assert "nothing_of_that_name" in verdict.reason


def test_in_process_runs_here() -> None:
    environment = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        assert InProcess("crashers:passes").run(JOB).evidence["pid"] == os.getpid()


def test_an_interrupt_leaves_nothing_running(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host.target = "crashers:passes"
    pid = host.run(JOB).evidence["pid"]

    def interrupted(stage: Stage) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(host, "_next", interrupted)
    with pytest.raises(KeyboardInterrupt):
        host.run(JOB)
    assert is_gone(pid)


@pytest.mark.parametrize(
    ("code", "memory", "words"),
    [(1, False, "exit status 1"), (-11, False, "SIGSEGV"), (-6, False, "SIGABRT"), (-9, True, "out of memory")],
)
def test_exit_statuses_in_words(code: int, memory: bool, words: str) -> None:
    assert words in describe_exit(code, out_of_memory=memory)


def test_cores_are_shared_and_never_zero() -> None:
    assert share_of_cores(1) >= share_of_cores(2) >= share_of_cores(10_000) == 1


@pytest.mark.parametrize(
    ("asked", "threads"), [("", 4), ("1", 1), ("3,2", 3), ("64", 4), ("0", 4), ("-1", 4), ("many", 4), (None, 4)]
)
def test_no_more_threads_than_the_environment_says(
    asked: str | None, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "share_of_cores", lambda processes: 8 // processes)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if asked is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", asked)
    assert share_of_threads(2) == threads


CONFTEST = """
import signal
import sys
import pytest
sys.path.insert(0, {tests!r})
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it

@pytest.fixture(scope="session")
def ipfs_host(pytestconfig):
    from pytest_ipfs_accelerate.host import Host
    from pytest_ipfs_accelerate.settings import read_settings
    host = Host(target="crashers:by_task", timeouts=read_settings(pytestconfig).timeouts)
    yield host
    host.close()
"""


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["alone", "xdist"])
def test_a_run_of_faults_ends_in_one_verdict_each(pytester: pytest.Pytester, workers: tuple[str, ...]) -> None:
    pytester.makeconftest(CONFTEST.format(tests=os.path.dirname(__file__)))
    tasks = "fill-mask,feature-extraction,text-classification,token-classification,question-answering,multiple-choice"
    result = pytester.runpytest_subprocess(
        "--ipfs-models=bert",
        f"--ipfs-tasks={tasks}",
        "--ipfs-hardware=cpu,onnxruntime",
        "--ipfs-timeout=run=2",
        "--ipfs-json=out.json",
        *workers,
    )
    result.assert_outcomes(passed=2, failed=10)
    report = json.loads((pytester.path / "out.json").read_text())
    assert report["counts"] == {"passed": 2, "crashed": 6, "timed-out": 2, "failed": 2}
    assert report["not_run"] == {}
    output = result.stdout.str()
    for words in ("SIGSEGV", "SIGKILL", "exit status 3", "no answer within 2 s", "RuntimeError: no such thing"):
        assert words in output
    result.stdout.fnmatch_lines(["*again:*pytest ipfs/bert::question-answering-cpu --ipfs-timeout=*run=2*"])
    result.stdout.fnmatch_lines(["crashed: 6 cases"])
    assert "Traceback" not in output
    assert "site-packages" not in output


def test_ctrl_c_keeps_the_verdicts_and_kills_the_host(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(CONFTEST.format(tests=os.path.dirname(__file__)))
    result = pytester.runpytest_subprocess(
        "ipfs/bert::fill-mask-cpu",
        "ipfs/bert::next-sentence-prediction-cpu",
        "ipfs/bert::text-encoding-cpu",
        "--ipfs-json=out.json",
    )
    assert result.ret == pytest.ExitCode.INTERRUPTED
    report = json.loads((pytester.path / "out.json").read_text())
    assert report["counts"] == {"passed": 1}
    assert report["exit_status"] == 2
    interrupted = ["ipfs/bert::next-sentence-prediction-cpu", "ipfs/bert::text-encoding-cpu"]
    assert report["not_run"] == dict.fromkeys(interrupted, "not reached: interrupted")
    result.stdout.fnmatch_lines(["model  cpu", "bert   1/1", "not reached: interrupted: 2 cases"])
    assert is_gone(int((pytester.path / "host.pid").read_text()))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a process with its parent")
def test_a_host_does_not_outlive_a_pytest_that_is_killed(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(CONFTEST.format(tests=os.path.dirname(__file__)))
    assert pytester.runpytest_subprocess("ipfs/bert::pretraining-cpu").ret == -signal.SIGKILL
    assert is_gone(int((pytester.path / "host.pid").read_text()))
