"""What pytest remembers between runs (``--lf``, ``--ff``, ``--nf``, ``--sw``), beside a project and across workers."""

from __future__ import annotations

from pathlib import Path

import pytest
from fakes import ANT, BEE

from conftest import Run

BROKEN = "ipfs/ant::fill-mask-cpu"


@pytest.fixture
def project(clean: pytest.Pytester) -> Path:
    """A project where one test, one parametrized test and one case fail."""
    clean.makepyfile(
        test_own="def test_own(): assert 0\ndef test_fine(): pass\n",
        test_mine=f"def test_mine(ipfs_case): assert ipfs_case.nodeid != {BROKEN!r}\n",
    )
    (clean.path / "broken.txt").write_text(BROKEN)
    return clean.path


def order(result: pytest.RunResult) -> list[str]:
    return [line for line in result.outlines if "::" in line]


FAILED = ["test_mine.py::test_mine[ant-fill-mask-cpu]", "test_own.py::test_own", BROKEN]


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["one process", "two workers"])
def test_last_failed_keeps_the_cases_beside_a_project(run: Run, project: Path, workers: tuple[str, ...]) -> None:
    arguments = (".", "ipfs", "--ipfs-models=ant", "--ipfs-hardware=cpu", *workers)
    run(*arguments).assert_outcomes(failed=3, passed=3)
    run(*arguments, "--lf").assert_outcomes(failed=3)
    (project / "broken.txt").unlink()
    result = run(*arguments, "--lf")
    result.assert_outcomes(failed=2, passed=1)
    run(*arguments, "--lf").assert_outcomes(failed=2)


def test_last_failed_of_the_project_leaves_the_cases_out(run: Run, project: Path) -> None:
    (project / "broken.txt").unlink()
    arguments = (".", "ipfs", "--ipfs-models=bee", "--ipfs-hardware=cpu")
    run(*arguments).assert_outcomes(failed=1, passed=3)
    run(*arguments, "--lf").assert_outcomes(failed=1, deselected=1)


def test_failed_first_beside_a_project(run: Run, project: Path) -> None:
    arguments = (".", "ipfs", "--ipfs-models=ant", "--ipfs-hardware=cpu")
    run(*arguments)
    found = order(run(*arguments, "--ff", "--co", "-q"))
    assert len(found) == 6
    assert found[:3] == FAILED


def test_new_first(run: Run, project: Path) -> None:
    matrix = ("ipfs", "--ipfs-models=ant,bee", "--ipfs-hardware=cpu")
    run("--nf", "--ipfs-models=bee", "--ipfs-hardware=cpu").assert_outcomes(passed=1)
    found = order(run("--nf", "--co", "-q", *matrix))
    assert found == [BROKEN, "ipfs/ant::text-classification-cpu", "ipfs/bee::image-classification-cpu"]
    run("--nf", "test_own.py", *matrix).assert_outcomes(failed=2, passed=3)


def test_stepwise(run: Run, clean: pytest.Pytester) -> None:
    broken = clean.path / "broken.txt"
    broken.write_text("ipfs/ant::text-classification-cpu")
    arguments = ("--ipfs-models=ant,bee", "--sw")
    run(*arguments).assert_outcomes(passed=3, skipped=3, failed=1)
    broken.unlink()
    run(*arguments).assert_outcomes(passed=6, skipped=6, deselected=6)
    run(*arguments).assert_outcomes(passed=9, skipped=9)


def test_last_failed_after_a_run_of_two_workers(run: Run, clean: pytest.Pytester) -> None:
    (clean.path / "broken.txt").write_text(BROKEN)
    run("--ipfs-models=ant,bee", "-n", "2").assert_outcomes(failed=1, passed=8, skipped=9)
    run("--ipfs-models=ant,bee", "-n", "2", "--lf").assert_outcomes(failed=1)
    run("--ipfs-models=ant,bee", "--lf").assert_outcomes(failed=1, deselected=ANT + BEE - 1)
