"""What runs, and under which node ids: every way to name cases, in every kind of directory."""

from __future__ import annotations

import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from fakes import ANT, BEE, HERE

from conftest import Run

ALL_HERE = ANT // 2 + BEE // 2
"""Cases of ``ant`` and ``bee`` on hardware that is here."""


def names(result: pytest.RunResult) -> list[str]:
    """The node ids that ``--collect-only -q`` prints."""
    return [line for line in result.outlines if "::" in line]


@pytest.fixture
def project(clean: pytest.Pytester) -> Path:
    """A project with a test of its own, a conftest, and one test over the cases."""
    clean.makeini("[pytest]\ntestpaths = tests\n")
    clean.mkdir("tests")
    (clean.path / "tests/conftest.py").write_text("import pytest\n@pytest.fixture\ndef three():\n    return 3\n")
    (clean.path / "tests/test_own.py").write_text("def test_own(three):\n    assert three == 3\n")
    (clean.path / "tests/test_mine.py").write_text("def test_mine(ipfs_case):\n    assert ipfs_case.model == 'ant'\n")
    return clean.path


def test_an_empty_directory_runs_the_matrix(run: Run) -> None:
    run("--ipfs-models=ant,bee").assert_outcomes(passed=ALL_HERE, skipped=ALL_HERE)


def test_the_node_ids(run: Run) -> None:
    found = names(run("--ipfs-models=ant", "--ipfs-hardware=cpu,cuda", "--collect-only", "-q"))
    assert found == [
        f"ipfs/ant::{task}-{hardware}" for task in ("fill-mask", "text-classification") for hardware in ("cpu", "cuda")
    ]


@pytest.mark.parametrize(
    ("arguments", "passed"),
    [
        (["ipfs/ant::fill-mask-cpu"], 1),
        (["ipfs/ant::fill-mask"], 3),
        (["ipfs/ant"], ANT // 2),
        (["ipfs/[ab]*"], None),
        (["ipfs/ant::fill-mask-cpu", "ipfs/bee::image-classification-openvino"], 2),
        (["ipfs/ant::fill-mask-cpu", "ipfs/ant::fill-mask"], 3),
        (["ipfs/ant", "--ipfs-hardware=cpu"], 2),
        (["./ipfs/ant::fill-mask-cpu"], 1),
    ],
)
def test_node_ids_need_no_option(run: Run, arguments: list[str], passed: int | None) -> None:
    if passed is None:
        found = {name.partition("::")[0] for name in names(run(*arguments, "--collect-only", "-q"))}
        assert {"ipfs/ant", "ipfs/bee", "ipfs/bert"} <= found
        assert "ipfs/vit" not in found
    else:
        assert run(*arguments).parseoutcomes()["passed"] == passed


def test_node_ids_from_a_subdirectory(run: Run, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project / "tests")
    for argument in ("ipfs/ant::fill-mask-cpu", "../ipfs/ant::fill-mask-cpu", f"{project}/ipfs/ant::fill-mask-cpu"):
        run(f"--rootdir={project}", argument).assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("ipfs/antt", ["no model type 'antt'", "'ant'"]),
        ("ipfs/ant::fill-msk-cpu", ["no case 'fill-msk-cpu' of ant", "'fill-mask-cpu'"]),
        ("ipfs/ant::image-classification-cpu", ["no case 'image-classification-cpu' of ant"]),
    ],
)
def test_a_node_id_that_is_none_names_the_nearest(run: Run, argument: str, words: list[str]) -> None:
    result = run(argument)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    for word in words:
        assert word in result.stderr.str()


@pytest.mark.parametrize(
    ("expression", "passed"),
    [
        (["-k", "onnxruntime"], 3),
        (["-k", "ant and fill-mask and cpu"], 1),
        (["-m", "openvino"], 3),
        (["-m", "openvino and vision"], 1),
        (["-m", "fill_mask and not cpu"], 2),
        (["-m", "ipfs and language"], 6),
        (["-m", "ipfs_case(model='bee', hardware='cpu')"], 1),
        (["--deselect", "ipfs/ant::"], 3),
        (["--deselect", "ipfs/ant::fill-mask-cpu"], 8),
    ],
)
def test_what_pytest_selects_by(run: Run, expression: list[str], passed: int) -> None:
    result = run("--ipfs-models=ant,bee", "--strict-markers", *expression)
    outcomes = result.parseoutcomes()
    assert outcomes["passed"] == passed
    assert outcomes["passed"] + outcomes.get("skipped", 0) + outcomes["deselected"] == ANT + BEE


def test_what_is_absent_is_collected_all_the_same(run: Run) -> None:
    result = run("--ipfs-models=ant", "-m", "cuda")
    result.assert_outcomes(skipped=2, deselected=ANT - 2)


def test_last_failed_and_failed_first(run: Run, clean: pytest.Pytester) -> None:
    broken = clean.path / "broken.txt"
    broken.write_text("ipfs/bee::image-classification-cpu ipfs/ant::fill-mask-openvino")
    run("--ipfs-models=ant,bee").assert_outcomes(failed=2, passed=ALL_HERE - 2, skipped=ALL_HERE)
    run("--ipfs-models=ant,bee", "--lf").assert_outcomes(failed=2, deselected=ANT + BEE - 2)
    first = run("--ipfs-models=ant,bee", "--ff", "--collect-only", "-q")
    assert names(first)[:2] == ["ipfs/ant::fill-mask-openvino", "ipfs/bee::image-classification-cpu"]
    run("--ipfs-models=ant,bee", "--ff", "-x").assert_outcomes(failed=1)
    broken.unlink()
    run("--ipfs-models=ant,bee", "--lf").assert_outcomes(passed=2, deselected=ANT + BEE - 2)


def test_without_the_cache_plugin(run: Run) -> None:
    run("--ipfs-models=bee", "-p", "no:cacheprovider").assert_outcomes(passed=BEE // 2, skipped=BEE // 2)


def test_strict_everything(run_apart: Run) -> None:
    run_apart("--ipfs-models=ant", "--strict-markers", "--strict-config").assert_outcomes(passed=6, skipped=6)


def test_junit_carries_the_verdict(run: Run, clean: pytest.Pytester) -> None:
    run("--ipfs-models=bee", "--ipfs-hardware=openvino,cuda", "--junitxml=out.xml")
    cases = list(ElementTree.parse(clean.path / "out.xml").iter("testcase"))
    found = [{p.get("name"): p.get("value") for p in case.iter("property")} for case in cases]
    assert [case.get("name") for case in cases] == ["image-classification-openvino", "image-classification-cuda"]
    assert [properties["ipfs.outcome"] for properties in found] == ["passed", "unavailable"]
    assert found[0]["ipfs.implementation"] == "simulator"
    assert '"model":"bee"' in (found[0]["ipfs.verdict"] or "")


def test_two_workers_of_xdist(run: Run, clean: pytest.Pytester) -> None:
    (clean.path / "broken.txt").write_text("ipfs/ant::fill-mask-cpu")
    result = run("--ipfs-models=ant,bee", "-n", "2")
    result.assert_outcomes(failed=1, passed=ALL_HERE - 1, skipped=ALL_HERE)
    # In the order of the plan, not in that of arrival.
    result.stdout.fnmatch_lines(
        ["model  cpu *onnxruntime*openvino*apple*qualcomm*", "-----*", "ant *1/2*", "bee *1/1*"]
    )


def test_two_workers_leave_a_project_alone(run: Run, project: Path) -> None:
    run("--ipfs-models=bee", "-n", "2").assert_outcomes(passed=BEE // 2, skipped=BEE // 2)


# A project of its own


def test_the_option_with_no_path_runs_the_matrix_alone(run: Run, project: Path) -> None:
    assert {name.partition("::")[0] for name in names(run("--ipfs-models=ant", "--co", "-q"))} == {"ipfs/ant"}


def test_a_path_wins(run: Run, project: Path) -> None:
    found = names(run("tests", "--ipfs-models=ant", "--ipfs-hardware=cpu", "--co", "-q"))
    assert found == [
        "tests/test_mine.py::test_mine[ant-fill-mask-cpu]",
        "tests/test_mine.py::test_mine[ant-text-classification-cpu]",
        "tests/test_own.py::test_own",
    ]


def test_a_path_and_the_matrix(run: Run, project: Path) -> None:
    run("tests", "ipfs", "--ipfs-models=ant", "--ipfs-hardware=cpu").assert_outcomes(passed=5)


def test_a_test_and_a_case(run: Run, project: Path) -> None:
    run("tests/test_own.py::test_own", "ipfs/bee::image-classification-cpu").assert_outcomes(passed=2)


def test_a_users_test_by_its_id(run: Run, project: Path) -> None:
    run("tests/test_mine.py::test_mine[ant-fill-mask-cpu]", "--ipfs-models=ant").assert_outcomes(passed=1)


def test_no_option_runs_the_project(run: Run, project: Path) -> None:
    result = run()
    result.assert_outcomes(passed=1, skipped=1)
    assert "ipfs:" not in result.stdout.str()


@pytest.mark.parametrize("how", ["ini", "addopts", "environment"])
def test_a_configured_selection_joins_the_ordinary_run(
    run: Run, project: Path, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = {"ini": "ipfs_models = ant\n", "addopts": "addopts = --ipfs-models=ant\n", "environment": ""}
    (project / "pytest.ini").write_text(f"[pytest]\ntestpaths = tests\nipfs_hardware = cpu\n{lines[how]}")
    if how == "environment":
        monkeypatch.setenv("PYTEST_IPFS_MODELS", "ant")
    assert len(names(run("--co", "-q"))) == 5  # two cases, two parametrized tests, one test of the project
    run("tests/test_own.py").assert_outcomes(passed=1)  # a path wins
    assert len(names(run("--ipfs-models=bee", "--co", "-q"))) == 1  # typed: the matrix alone


def test_a_real_directory_of_that_name_comes_first(run: Run, clean: pytest.Pytester) -> None:
    (clean.mkdir("ipfs") / "test_real.py").write_text("def test_real(): pass\n")
    run("ipfs").assert_outcomes(passed=1)
    run("ipfs/test_real.py").assert_outcomes(passed=1)
    run("ipfs/bee::image-classification-cpu").assert_outcomes(passed=1)


def test_fixtures_of_a_conftest_work_on_cases(run: Run, clean: pytest.Pytester) -> None:
    clean.makeconftest(
        """
        import pytest

        @pytest.fixture(scope="module", autouse=True)
        def around_a_model():
            print("\\nopened")
            yield
            print("\\nclosed")

        @pytest.fixture(autouse=True)
        def around_a_case(request):
            assert request.node.get_closest_marker("ipfs_case").kwargs["model"] in ("ant", "bee")
            assert {"ipfs", "ipfs_case", request.node.case.hardware} <= set(request.node.keywords)
        """
    )
    result = run("--ipfs-models=ant,bee", "-s")
    result.assert_outcomes(passed=ALL_HERE, skipped=ALL_HERE)
    assert result.outlines.count("opened") == result.outlines.count("closed") == 2  # once a model type


@pytest.mark.parametrize("option", ["--fixtures-per-test", "--setup-plan", "--fixtures", "--markers"])
def test_what_else_collects(run: Run, option: str) -> None:
    result = run("--ipfs-models=ant", "--ipfs-hardware=cpu", option)
    assert result.ret == pytest.ExitCode.OK
    words = {"--fixtures": "ipfs_handler", "--markers": "@pytest.mark.fill_mask: the task fill-mask"}
    assert words.get(option, "fill-mask-cpu") in result.stdout.str()


def test_help_names_every_option(run: Run) -> None:
    from pytest_ipfs_accelerate.options import OPTIONS

    text = run("--help").stdout.str()
    for option in OPTIONS:
        assert f"{option.flag}" in text
        assert not option.ini or f"{option.dest} (" in text


# What the selection says


@pytest.mark.parametrize(
    ("arguments", "models"),
    [
        (["--ipfs-models=an?"], {"ant"}),
        (["--ipfs-models=ant,be?,bert,!bert"], {"ant", "bee"}),
        (["--ipfs-models=@mine"], {"ant", "bee"}),
        (["--ipfs-models=@mine,!bee"], {"ant"}),
        (["--ipfs-models=@sample"], {"bert", "vit", "whisper", "llava"}),
        (["--ipfs-models=ant,bee", "--ipfs-category=vision"], {"bee"}),
        (["--ipfs-models=ant,bee", "--ipfs-tasks=sentiment-analysis"], {"ant"}),
        (["--ipfs-models=ant,bee", "--ipfs-tasks=!fill-mask,!text-*"], {"bee"}),
        (["--ipfs-models=@skillset", "--ipfs-category=language"], None),
    ],
)
def test_the_words_of_a_selection(
    run: Run, clean: pytest.Pytester, arguments: list[str], models: set[str] | None
) -> None:
    clean.makeini("[pytest]\nipfs_sets =\n  mine = ant, bee\n")
    found = {name.removeprefix("ipfs/").partition("::")[0] for name in names(run(*arguments, "--co", "-q"))}
    assert found == models if models is not None else "bert" in found and "vit" not in found


def test_everything(run: Run) -> None:
    from pytest_ipfs_accelerate.registry import load_registry

    found = {name.removeprefix("ipfs/").partition("::")[0] for name in names(run("--ipfs-all", "--co", "-q"))}
    assert found == {"ant", "bee", *load_registry()}


def test_an_alias_of_a_task(run: Run) -> None:
    found = names(run("--ipfs-models=ant", "--ipfs-tasks=masked-lm", "--ipfs-hardware=c*", "--co", "-q"))
    assert found == ["ipfs/ant::fill-mask-cpu", "ipfs/ant::fill-mask-cuda"]


def test_members_of_a_set_that_have_no_row_are_named(run: Run, clean: pytest.Pytester) -> None:
    clean.makeini("[pytest]\nipfs_sets =\n  mine = bee, unheard_of\n  nobody = unheard_of\n")
    notice = "*names unheard_of: no row in the registry*"
    run("--ipfs-models=@mine").stdout.fnmatch_lines([notice])
    run("--ipfs-models=@mine", "--ipfs-list").stdout.fnmatch_lines([notice])
    nobody = run("--ipfs-models=@nobody")
    assert nobody.ret == pytest.ExitCode.NO_TESTS_COLLECTED
    nobody.stdout.fnmatch_lines([notice])


def test_a_selection_that_leaves_nothing_says_so(run: Run) -> None:
    result = run("--ipfs-models=bee", "--ipfs-tasks=fill-mask")
    assert result.ret == pytest.ExitCode.NO_TESTS_COLLECTED
    result.stdout.fnmatch_lines(["ipfs: 0 cases*"])


def test_a_pipeline_map(run: Run, clean: pytest.Pytester) -> None:
    clean.makefile(".json", tasks='{"ant": ["sentiment-analysis", "fill-mask"], "bee": ["image-classification"]}')
    found = names(run("--ipfs-pipeline-map=tasks.json", "--ipfs-all", "--ipfs-hardware=cpu", "--co", "-q"))
    assert found == [
        "ipfs/ant::text-classification-cpu",
        "ipfs/ant::fill-mask-cpu",
        "ipfs/bee::image-classification-cpu",
    ]


def test_the_cases_are_the_same_wherever_they_are_collected(run: Run, clean: pytest.Pytester) -> None:
    """Nothing that this machine has or lacks changes what is collected: xdist would abort."""
    here = names(run("--ipfs-models=bert", "--co", "-q"))
    clean.makeconftest(
        """
        from pytest_ipfs_accelerate import Availability, HardwareSpec

        def pytest_ipfs_hardware():
            names = ("cpu", "onnxruntime", "openvino", "cuda", "apple", "qualcomm")
            nowhere = lambda: Availability(available=False, reason="nothing is here")
            return [HardwareSpec(name=name, target="x:Y", probe=nowhere) for name in names]
        """
    )
    assert names(run("--ipfs-models=bert", "--co", "-q")) == here
    assert HERE[0] in here[0]
    assert sys.modules.get("fakes")
