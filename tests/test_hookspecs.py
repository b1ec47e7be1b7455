"""The example in the docstring of every hook does what it says, and the hooks say what is wrong with a declaration."""

from __future__ import annotations

import inspect
import json
import textwrap

import pytest

from conftest import Run
from pytest_ipfs_accelerate import hookspecs

HOOKS = [name for name in vars(hookspecs) if name.startswith("pytest_ipfs_")]

MY_HARDWARE = "from pytest_ipfs_accelerate.hardware.torch_device import Cpu as Loopback\n"
MY_TASKS = """
from pytest_ipfs_accelerate.tasks.extraction import FeatureExtraction

class SentenceSimilarity(FeatureExtraction):
    pass
"""


def example(hook: str) -> str:
    """The code behind ``Example::`` in the docstring of a hook."""
    docstring = inspect.getdoc(getattr(hookspecs, hook)) or ""
    _, found, code = docstring.partition("Example::\n")
    assert found, f"{hook} has no example"
    return textwrap.dedent(code)


def collected(run: Run, *arguments: str) -> list[str]:
    return [line for line in run(*arguments, "--co", "-q").outlines if line.startswith("ipfs/")]


def test_every_hook_has_its_test() -> None:
    assert set(HOOKS) == {
        "pytest_ipfs_hardware",
        "pytest_ipfs_tasks",
        "pytest_ipfs_models",
        "pytest_ipfs_modify_cases",
    }


def test_add_a_hardware(run: Run, run_apart: Run, clean: pytest.Pytester) -> None:
    clean.makeconftest(example("pytest_ipfs_hardware"))
    assert collected(run, "--ipfs-models=bee", "--ipfs-hardware=loop*") == ["ipfs/bee::image-classification-loopback"]
    run_apart("--ipfs-models=bee", "--strict-markers", "-m", "loopback").assert_outcomes(passed=1, deselected=6)


def test_hardware_that_is_not_default_runs_where_it_is_named(run: Run, clean: pytest.Pytester) -> None:
    clean.makeconftest(example("pytest_ipfs_hardware").replace("name=", "default=False, name="))
    named = "ipfs/bee::image-classification-loopback"
    assert named not in collected(run, "--ipfs-models=bee")
    assert named not in collected(run, "--ipfs-models=bee", "--ipfs-hardware=!cuda")
    assert collected(run, "--ipfs-models=bee", "--ipfs-hardware=loopback") == [named]
    assert collected(run, named) == [named]
    clean.makepyfile("""
        import pytest
        @pytest.mark.ipfs_cases(models="bee", hardware="loop*")
        def test_named(ipfs_case): assert ipfs_case.hardware == "loopback"
        @pytest.mark.ipfs_cases(models="bee", hardware="!cuda")
        def test_left_out(ipfs_case): assert ipfs_case.hardware != "loopback"
    """)
    run("--ipfs-models=bee", "--collect-only", "-q", str(clean.path)).stdout.fnmatch_lines(["6 tests collected*"])


def test_add_a_task(run: Run, run_apart: Run, clean: pytest.Pytester) -> None:
    clean.makeconftest(example("pytest_ipfs_tasks"))
    clean.makefile(".json", rows=json.dumps({"models": {"pairs": PAIRS}}))
    arguments = ("--ipfs-registry=rows.json", "--ipfs-models=pairs", "--ipfs-tasks=sts", "--ipfs-hardware=cpu")
    assert collected(run, *arguments) == ["ipfs/pairs::sentence-similarity-cpu"]
    run_apart(*arguments, "--strict-markers", "-m", "sentence_similarity").assert_outcomes(passed=1)


def test_add_a_model(run: Run, clean: pytest.Pytester) -> None:
    clean.makeconftest(example("pytest_ipfs_models"))
    assert collected(run, "--ipfs-models=bert_*", "--ipfs-hardware=cpu") == ["ipfs/bert_wide::fill-mask-cpu"]


def test_change_the_cases(run: Run, clean: pytest.Pytester) -> None:
    before = collected(run, "--ipfs-models=bert")
    clean.makeconftest(example("pytest_ipfs_modify_cases"))
    after = collected(run, "--ipfs-models=bert")
    assert after == [case for case in before if "::pretraining-" not in case] != before


PAIRS = {
    "category": "language",
    "config_class": "BertConfig",
    "processor": "bert-wordpiece",
    "config": {
        "hidden_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 128,
        "vocab_size": 226,
        "max_position_embeddings": 64,
        "pad_token_id": 0,
    },
    "tasks": {"sentence-similarity": {"class": "BertModel"}},
}


def test_the_examples_run_for_real(clean: pytest.Pytester) -> None:
    """With torch, in the host: what a user adds is imported there by its name, and computes."""
    clean.makeconftest("\n".join(map(example, HOOKS)))
    clean.makepyfile(my_hardware=MY_HARDWARE, my_tasks=MY_TASKS)
    clean.makefile(".json", rows=json.dumps({"models": {"pairs": PAIRS}}))
    result = clean.runpytest_subprocess(
        "-p",
        "no:hypothesispytest",
        "ipfs/bert_wide::fill-mask-loopback",
        "ipfs/pairs::sentence-similarity-cpu",
        "--ipfs-registry=rows.json",
        "--ipfs-json=out.json",
    )
    result.assert_outcomes(passed=2)
    verdicts = json.loads((clean.path / "out.json").read_text())["verdicts"]
    assert [(v["model"], v["hardware"], v["implementation"]) for v in verdicts] == [
        ("bert_wide", "loopback", "real"),
        ("pairs", "cpu", "real"),
    ]


# What is wrong with a declaration


@pytest.mark.parametrize(
    ("conftest", "words"),
    [
        (
            """
            from pytest_ipfs_accelerate import Availability, HardwareSpec
            def pytest_ipfs_hardware():
                return [HardwareSpec(name="my-chip", target="x:Y", probe=lambda: Availability(available=True))]
            """,
            ["pytest_ipfs_hardware", "'my-chip'", "identifier"],
        ),
        (
            """
            def pytest_ipfs_models():
                return {"mine": {"category": "language"}}
            """,
            ["pytest_ipfs_models: models.mine", "config_class"],
        ),
        (
            """
            from pytest_ipfs_accelerate import Case
            def pytest_ipfs_modify_cases(cases):
                cases.append(Case("dragon", "fill-mask", "cpu"))
            """,
            ["pytest_ipfs_modify_cases", "ipfs/dragon::fill-mask-cpu"],
        ),
        (
            """
            from pytest_ipfs_accelerate import Case
            def pytest_ipfs_modify_cases(cases):
                cases.append(Case("ant", "fill-mask", "abacus"))
            """,
            ["pytest_ipfs_modify_cases", "ipfs/ant::fill-mask-abacus"],
        ),
    ],
    ids=["hardware", "model", "case of no model", "case of no hardware"],
)
def test_a_bad_declaration_is_an_error_before_the_run(
    run: Run, clean: pytest.Pytester, conftest: str, words: list[str]
) -> None:
    clean.makeconftest(conftest)
    result = run("--ipfs-models=ant,m*" if "mine" in conftest else "--ipfs-models=ant")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "Traceback" not in result.stderr.str()
    for word in words:
        assert word in result.stderr.str()


def test_a_case_that_is_added_twice_is_one(run: Run, clean: pytest.Pytester) -> None:
    clean.makeconftest("def pytest_ipfs_modify_cases(cases):\n    cases += cases")
    assert len(collected(run, "--ipfs-models=bee")) == 6


def test_cases_keep_the_order_of_the_hook(run: Run, clean: pytest.Pytester) -> None:
    clean.makeconftest("def pytest_ipfs_modify_cases(cases):\n    cases.reverse()")
    assert collected(run, "--ipfs-models=ant,bee", "--ipfs-hardware=cpu") == [
        "ipfs/bee::image-classification-cpu",
        "ipfs/ant::text-classification-cpu",
        "ipfs/ant::fill-mask-cpu",
    ]


def test_a_conftest_replaces_what_the_plugin_ships(run: Run, clean: pytest.Pytester) -> None:
    clean.makeconftest(
        """
        from pytest_ipfs_accelerate import Availability, HardwareSpec

        def pytest_ipfs_hardware():
            nowhere = Availability(available=False, reason="taken away")
            return [HardwareSpec(name="cpu", target="x:Y", probe=lambda: nowhere)]
        """
    )
    result = run("ipfs/bee::image-classification-cpu", "-rs")
    result.assert_outcomes(skipped=1)
    assert "cpu: taken away" in result.stdout.str()


def test_a_probe_that_raises_is_an_error_and_not_a_skip(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(
        """
        from pytest_ipfs_accelerate import HardwareSpec

        def broken():
            raise OSError("no such bus")

        def pytest_ipfs_hardware():
            return [HardwareSpec(name="loopback", target="nowhere:Nothing", probe=broken)]
        """
    )
    arguments = ("--ipfs-models=bert", "--ipfs-tasks=fill-mask", "--ipfs-hardware=loopback")
    listed = pytester.runpytest_subprocess(*arguments, "--ipfs-list")
    assert listed.ret == pytest.ExitCode.USAGE_ERROR
    listed.stderr.fnmatch_lines(["*the probe of loopback raised OSError: no such bus"])
    run = pytester.runpytest_subprocess(*arguments)
    run.assert_outcomes(errors=1)
    run.stdout.fnmatch_lines(["*the probe of loopback raised OSError: no such bus*"])
