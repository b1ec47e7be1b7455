"""Exported programs are kept, found again, verified, and made again where they are damaged or of another source."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import fakes
import pytest
import torch
from cases import job, recipe, task_on

from conftest import Run
from pytest_ipfs_accelerate import runner
from pytest_ipfs_accelerate.hardware import artifacts
from pytest_ipfs_accelerate.hardware.artifacts import source_key
from pytest_ipfs_accelerate.opening import shared_bench
from pytest_ipfs_accelerate.specs import Job
from pytest_ipfs_accelerate.store import Store
from pytest_ipfs_accelerate.verdict import Outcome, Stage, Verdict

RunCase = Callable[[], Verdict]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "cache", 10**9)


@pytest.fixture
def again(store: Store) -> RunCase:
    """Runs a case as a new process would, with nothing left in memory."""
    kept = replace(job("bert", "fill-mask", "onnxruntime"), cache_dir=str(store.root), cache_size=store.limit)

    def run() -> Verdict:
        shared_bench.cache_clear()
        return runner.run_case(kept, lambda stage: None)

    return run


def test_a_second_run_exports_nothing(again: RunCase) -> None:
    first, second = again(), again()
    assert (first.outcome, second.outcome) == (Outcome.PASSED, Outcome.PASSED)
    assert "export" not in first.evidence.get("reused", ())
    assert "export" in second.evidence["reused"]
    assert first.evidence["program"] == second.evidence["program"]
    assert second.seconds[Stage.EXPORT] < first.seconds[Stage.EXPORT] / 2


def test_a_damaged_program_is_made_again_with_a_warning(again: RunCase, store: Store) -> None:
    first = again()
    cid = first.evidence["program"]["components"]["model"]
    (path,) = store.root.glob(f"blobs/*/{cid}")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    second = again()
    assert second.outcome is Outcome.PASSED
    assert second.evidence["warnings"] == [f"the artifact {cid} in {store.root} was damaged; it is made again"]
    assert second.evidence["program"] == first.evidence["program"]
    assert "warnings" not in again().evidence


def test_a_program_that_was_thrown_out_is_made_again_without_a_word(again: RunCase, store: Store) -> None:
    cid = again().evidence["program"]["components"]["model"]
    (path,) = store.root.glob(f"blobs/*/{cid}")
    path.unlink()
    second = again()
    assert second.outcome is Outcome.PASSED
    assert "warnings" not in second.evidence
    assert "export" not in second.evidence.get("reused", ())


def test_the_source_is_weights_inputs_and_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    task = task_on(recipe("bert", "fill-mask"), "fill-mask")
    other = task_on(replace(recipe("bert", "fill-mask"), seed=1), "fill-mask")
    inputs = task.encode(list(task.samples()))
    key = source_key(task.checkpoint, inputs, "forward")
    assert source_key(task.checkpoint, dict(inputs), "forward") == key
    assert source_key(other.checkpoint, inputs, "forward") != key
    assert source_key(task.checkpoint, inputs, "generation") != key
    changed = inputs["input_ids"].clone()
    changed[0, 1] += 1
    assert source_key(task.checkpoint, {**inputs, "input_ids": changed}, "forward") != key
    assert source_key(task.checkpoint, {**inputs, "input_ids": changed.to(torch.int32)}, "forward") != key
    monkeypatch.setattr(artifacts, "_exporter", lambda: ({"torch": "0.0"}, []))
    assert source_key(task.checkpoint, inputs, "forward") != key


def test_clearing_says_what_was_removed(run: Run, tmp_path: Path) -> None:
    store = Store(tmp_path / "cache", 10**9)
    store.put(b"x" * 3_000_000)
    result = run("--ipfs-models=ant", f"--ipfs-cache-dir={store.root}", "--ipfs-cache-clear")
    result.stdout.fnmatch_lines([f"ipfs: 1 artifact of 3 MB removed from {store.root}"])
    assert not list(store.root.glob("blobs/*/*"))


def test_a_directory_of_somebody_else_is_left_alone(run: Run, tmp_path: Path) -> None:
    (tmp_path / "thesis").write_text("years of work")
    result = run("--ipfs-models=ant", f"--ipfs-cache-dir={tmp_path}", "--ipfs-cache-clear")
    result.stderr.fnmatch_lines(["ERROR: --ipfs-cache-clear: *holds no CACHEDIR.TAG*"])
    assert (tmp_path / "thesis").exists()


@pytest.mark.parametrize("size", ["lots", "10 bananas", "-1"])
def test_a_size_that_is_none(run: Run, size: str) -> None:
    result = run("--ipfs-models=ant", f"--ipfs-cache-size={size}")
    result.stderr.fnmatch_lines([f"ERROR: --ipfs-cache-size: '{size}' is not a size; write it like 500MB, 20GB or 0"])


def test_a_cache_directory_that_is_a_file(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = run("--ipfs-models=ant", f"--ipfs-cache-dir={tmp_path / 'file'}")
    result.stderr.fnmatch_lines([f"ERROR: --ipfs-cache-dir: {tmp_path / 'file'} is not a directory"])


def test_what_the_host_warns_of_reaches_the_user(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    passes = fakes.run_case

    def warns(job: Job, enter: Callable[[Stage], None]) -> Verdict:
        return replace(passes(job, enter), evidence={"warnings": ["the artifact was damaged"]})

    monkeypatch.setattr(fakes, "run_case", warns)
    result = run("--ipfs-models=ant", "--ipfs-hardware=cpu", "-W", "default::pytest.PytestWarning")
    result.stdout.fnmatch_lines(["*PytestWarning: ipfs/ant::fill-mask-cpu: the artifact was damaged"])
    result.assert_outcomes(passed=2, warnings=3)  # the third is of pytest, about fakes
