"""The fixtures and the mark that users' own tests take."""

from __future__ import annotations

import pytest

from conftest import Run


def test_the_selection_parametrizes_a_test(run: Run, clean: pytest.Pytester) -> None:
    clean.makepyfile(
        """
        seen = []

        def test_each(ipfs_case):
            seen.append(ipfs_case)

        def test_all():
            assert [case.leaf for case in seen] == ["fill-mask-cpu", "text-classification-cpu"]
        """
    )
    run(".", "--ipfs-models=ant", "--ipfs-hardware=cpu").assert_outcomes(passed=3)


def test_the_marks_of_a_case_stand_on_the_test(run_apart: Run, clean: pytest.Pytester) -> None:
    clean.makepyfile("def test_each(ipfs_case): pass")
    result = run_apart(".", "--ipfs-models=ant,bee", "-m", "vision and openvino", "--strict-markers")
    result.assert_outcomes(passed=1, deselected=17)


def test_a_fixture_that_asks_for_the_case(run: Run, clean: pytest.Pytester) -> None:
    clean.makepyfile(
        """
        import pytest

        @pytest.fixture
        def model(ipfs_case):
            return ipfs_case.model

        def test_each(model):
            assert model == "bee"
        """
    )
    run(".", "--ipfs-models=bee").assert_outcomes(passed=6)


@pytest.mark.parametrize("options", [[], ["--ipfs-models=bee"], ["--ipfs-models=bee", "-n", "2"]])
def test_a_test_with_a_selection_of_its_own(run_apart: Run, clean: pytest.Pytester, options: list[str]) -> None:
    clean.makepyfile(
        """
        import pytest

        @pytest.mark.ipfs_cases(models="ant", tasks="sentiment-analysis", hardware="cpu,cuda")
        def test_each(ipfs_case):
            assert ipfs_case.model == "ant"
            assert ipfs_case.task == "text-classification"
            assert ipfs_case.hardware in ("cpu", "cuda")
        """
    )
    # Strict also where no option is given: users write this mark themselves.
    run_apart(".", "--strict-markers", *options).assert_outcomes(passed=2)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("model='ant'", "takes models, tasks and hardware by keyword, not ['model']"),
        ("'ant'", "takes models, tasks and hardware by keyword"),
        ("models='antt'", "no model type 'antt'; did you mean 'ant'"),
        ("tasks='fill-msk'", "no task 'fill-msk'"),
    ],
)
def test_a_mark_that_is_wrong(run: Run, clean: pytest.Pytester, arguments: str, words: str) -> None:
    clean.makepyfile(
        f"""
        import pytest

        @pytest.mark.ipfs_cases({arguments})
        def test_each(ipfs_case): pass
        """
    )
    result = run(".")
    assert result.ret != pytest.ExitCode.OK
    assert words in result.stdout.str() + result.stderr.str()


def test_without_a_selection_it_is_skipped(run: Run, clean: pytest.Pytester) -> None:
    clean.makepyfile("def test_each(ipfs_case): pass")
    run().assert_outcomes(skipped=1)


@pytest.mark.parametrize("fixture", ["ipfs_handler"])
def test_absent_hardware_skips_or_fails(run: Run, clean: pytest.Pytester, fixture: str) -> None:
    clean.makepyfile(f"def test_each({fixture}): raise SystemError")
    skipped = run(".", "--ipfs-models=bee", "--ipfs-hardware=cuda", "-rs")
    skipped.assert_outcomes(skipped=1)
    assert "cuda: none in these tests" in skipped.stdout.str()
    failed = run(".", "--ipfs-models=bee", "--ipfs-hardware=cuda", "--ipfs-require=cuda")
    failed.assert_outcomes(errors=1)
    assert "required and unavailable: cuda: none in these tests" in failed.stdout.str()
    assert "SystemError" not in failed.stdout.str()


def test_a_checkpoint_and_a_handler_for_real(clean: pytest.Pytester) -> None:
    clean.makepyfile(
        """
        def test_each(ipfs_checkpoint, ipfs_handler, ipfs_case):
            assert type(ipfs_checkpoint.model).__name__ == "BertForSequenceClassification"
            result = ipfs_handler("a text")
            assert result.hardware == ipfs_case.hardware == "cpu"
            assert {answer["label"] for answer in result.decoded[0]} <= {"negative", "neutral", "positive"}
        """
    )
    result = clean.runpytest_subprocess(
        "-p",
        "no:hypothesispytest",
        ".",
        "--ipfs-models=bert",
        "--ipfs-tasks=text-classification",
        "--ipfs-hardware=cpu,cuda",
        "-m",
        "cpu",
    )
    result.assert_outcomes(passed=1, deselected=1)
