"""--ipfs-skillset: which cases the classes of a user have, and how a run says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from conftest import OPTIONS, Run
from pytest_ipfs_accelerate.plan import Plan, plan_of

ANT = """
class hf_ant:
    def create_cpu_fill_mask_endpoint_handler(self): ...
    def create_cpu_sentiment_analysis_endpoint_handler(self): ...
    def create_cpu_llm_endpoint_handler(self): ...
    def create_openvino_ant_endpoint_handler(self): ...
"""
CASES = [
    *("ipfs/ant::fill-mask-cpu", "ipfs/ant::fill-mask-onnxruntime", "ipfs/ant::fill-mask-openvino"),
    *("ipfs/ant::fill-mask-cuda", "ipfs/ant::fill-mask-apple", "ipfs/ant::fill-mask-qualcomm"),
    "ipfs/ant::text-classification-cpu",
]


@pytest.fixture
def skills(clean: pytest.Pytester) -> Path:
    directory = clean.mkdir("skills")
    (directory / "hf_ant.py").write_text(ANT)
    return directory


def collected(result: pytest.RunResult) -> list[str]:
    return [line for line in result.outlines if line.startswith(("ipfs/", "test_"))]


def plan(clean: pytest.Pytester, *options: str) -> Plan:
    return plan_of(clean.parseconfig(*OPTIONS, *options))


def test_the_matrix_runs_alone_over_what_the_classes_offer(run: Run, skills: Path, clean: pytest.Pytester) -> None:
    clean.makepyfile(test_mine="def test_mine(): ...")
    assert sorted(collected(run("--ipfs-skillset=skills", "--collect-only", "-q"))) == sorted(CASES)


@pytest.mark.parametrize(
    "options",
    [
        ("--ipfs-tasks=fill-mask", "--ipfs-hardware=cpu"),
        ("ipfs/ant::fill-mask-cpu",),
        ("--ipfs-models=ant", "-k", "fill-mask-cpu"),
    ],
)
def test_the_words_of_a_selection_narrow_it(run: Run, skills: Path, options: tuple[str, ...]) -> None:
    result = run("--ipfs-skillset=skills/hf_ant.py", "--collect-only", "-q", *options)
    assert collected(result) == ["ipfs/ant::fill-mask-cpu"]


def test_from_the_ini_file_it_joins_the_ordinary_run(run: Run, skills: Path, clean: pytest.Pytester) -> None:
    clean.makepyfile(test_mine="def test_mine(): ...")
    clean.makeini("[pytest]\nipfs_skillset = skills\nipfs_hardware = cpu")
    (clean.path / "below").mkdir()
    found = collected(run("--collect-only", "-q"))
    assert found == ["test_mine.py::test_mine", "ipfs/ant::fill-mask-cpu", "ipfs/ant::text-classification-cpu"]


def test_from_the_environment(run: Run, skills: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_IPFS_SKILLSET", "skills")
    assert len(collected(run("--collect-only", "-q", "--ipfs-hardware=cpu"))) == 2
    monkeypatch.setenv("PYTEST_IPFS_SKILLSET", "skillz")
    result = run("--collect-only")
    says = "ERROR: environment variable PYTEST_IPFS_SKILLSET: 'skillz' is neither a path*did you mean 'skills'?"
    result.stderr.fnmatch_lines([says])


def test_a_job_has_the_class_and_the_words_of_its_task(skills: Path, clean: pytest.Pytester) -> None:
    jobs = {
        case.nodeid: made.job(case) for made in [plan(clean, "--ipfs-skillset=skills")] for case in made.selected["ant"]
    }
    source = jobs["ipfs/ant::fill-mask-cpu"].skill
    assert source is not None
    assert (source.name, source.file, source.root, source.module) == (
        "hf_ant",
        str(skills / "hf_ant.py"),
        str(skills),
        "hf_ant",
    )
    assert source.line == 2
    assert source.unplaced == ("create_cpu_llm_endpoint_handler",)
    assert jobs["ipfs/ant::fill-mask-cpu"].words == ("fill_mask", "masked_lm", "mlm", "ant")
    assert jobs["ipfs/ant::text-classification-cpu"].words == ("text_classification", "sentiment_analysis")


def test_without_it_a_job_has_no_class(clean: pytest.Pytester) -> None:
    made = plan(clean, "--ipfs-models=ant")
    assert {(made.job(case).skill, made.job(case).words) for case in made.selected["ant"]} == {(None, ())}


def test_how_to_run_a_case_again(skills: Path, clean: pytest.Pytester) -> None:
    made = plan(clean, "--ipfs-skillset=skills")
    case = made.selected["ant"][0]
    assert made.reproduce(case) == f"pytest {case.nodeid} --ipfs-skillset={skills / 'hf_ant.py'}"


def test_the_list_shows_the_classes(run: Run, skills: Path) -> None:
    (skills / "broken.py").write_text("class hf_bee:\n  def f(:")
    (skills / "more.py").write_text("class hf_ent: ...")
    result = run("--ipfs-skillset=skills", "--ipfs-list", "--ipfs-hardware=cpu")
    result.stdout.fnmatch_lines(
        [
            "model *tasks *class",
            "ant *cpu *fill-mask, text-classification *hf_ant (skills/hf_ant.py:2)",
            "ent *- *cpu *hf_ent (skills/more.py:1)",
            "ipfs: */skills/broken.py:2: does not parse, *",
            "ipfs: hf_ent (skills/more.py:1): no model type 'ent' in the registry; did you mean *'ant'*",
        ]
    )


def test_a_class_that_no_model_type_has_the_name_of_fails(run: Run, skills: Path) -> None:
    (skills / "more.py").write_text("class hf_ent: ...")
    result = run("--ipfs-skillset=skills", "--ipfs-hardware=cpu,cuda", "--strict-markers", "-rs")
    result.assert_outcomes(passed=2, failed=1, skipped=2)
    result.stdout.fnmatch_lines(["*hf_ent (*more.py:1): no model type 'ent' in the registry; did you mean *'ant'*"])


def test_a_file_that_does_not_parse_is_a_case(run: Run, skills: Path) -> None:
    (skills / "hf_bee.py").write_text("def f(:")
    result = run("--ipfs-skillset=skills", "--collect-only", "-q", "--ipfs-hardware=cpu")
    assert collected(result) == [
        "ipfs/ant::fill-mask-cpu",
        "ipfs/ant::text-classification-cpu",
        "ipfs/bee::image-classification-cpu",
    ]


def test_what_it_could_not_take_in_is_a_warning(clean: pytest.Pytester, skills: Path) -> None:
    (skills / "broken.py").write_text("class hf_bee:\n  def f(:")
    options = [option for option in OPTIONS if option != "error::pytest.PytestWarning"]
    options.remove("-W")
    result = clean.runpytest_inprocess(*options, "--ipfs-skillset=skills", "--ipfs-hardware=cpu", "-q")
    result.stdout.fnmatch_lines(
        ["*PytestWarning: ipfs: *broken.py:2: does not parse, and its name is that of no class*"]
    )
    result.assert_outcomes(passed=2, warnings=1)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (
            ("--ipfs-models=bee",),
            "--ipfs-models: no model type 'bee' among the classes of the skillset; there are: ant",
        ),
        (("ipfs/bee",), "ipfs/bee: no model type 'bee' among the classes of the skillset; there are: ant"),
        (("--ipfs-skillset=skills/hf_bee.py",), "--ipfs-skillset: 'skills/hf_bee.py' does not exist in *'hf_ant.py'?"),
    ],
)
def test_what_is_not_there(run: Run, skills: Path, options: tuple[str, ...], says: str) -> None:
    result = run("--ipfs-skillset=skills", *options)
    result.stderr.fnmatch_lines([f"ERROR: {says}"])


def test_a_set_names_who_has_no_class(run: Run, skills: Path, clean: pytest.Pytester) -> None:
    clean.makeini("[pytest]\nipfs_sets = pets = ant, bee")
    result = run("--ipfs-skillset=skills", "--ipfs-models=@pets", "--ipfs-hardware=cpu")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["ipfs: @pets also names bee: no class of the skillset"])


def test_a_pipeline_map_narrows_the_classes(run: Run, skills: Path, clean: pytest.Pytester) -> None:
    (skills / "hf_bee.py").write_text("class hf_bee: ...")
    (clean.path / "map.json").write_text('{"ant": ["text-classification"]}')
    result = run(
        "--ipfs-skillset=skills", "--ipfs-pipeline-map=map.json", "--collect-only", "-q", "--ipfs-hardware=cpu"
    )
    assert collected(result) == ["ipfs/ant::text-classification-cpu"]


def test_the_shipped_ledger_says_nothing_of_a_users_class(skills: Path, clean: pytest.Pytester) -> None:
    assert plan(clean, "--ipfs-models=ant").ledger.rows
    assert plan(clean, "--ipfs-skillset=skills").ledger.rows == ()
    (clean.path / "known.json").write_text(
        '{"schema": 1, "failures": {"ant::*": {"stage": "run", "exception": "ValueError", "reason": "known"}}}'
    )
    assert len(plan(clean, "--ipfs-skillset=skills", "--ipfs-ledger=known.json").ledger.rows) == 1


def test_a_test_of_the_users_gets_the_cases(run: Run, skills: Path, clean: pytest.Pytester) -> None:
    clean.makepyfile(test_mine="def test_mine(ipfs_case): ...")
    found = collected(run("test_mine.py", "--ipfs-skillset=skills", "--ipfs-hardware=cpu", "--collect-only", "-q"))
    assert found == [
        "test_mine.py::test_mine[ant-fill-mask-cpu]",
        "test_mine.py::test_mine[ant-text-classification-cpu]",
    ]
