"""One precedence for every setting, and a message for every value that is none."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from conftest import Run
from pytest_ipfs_accelerate.matrix import Case
from pytest_ipfs_accelerate.options import OPTIONS, Kind, is_configured
from pytest_ipfs_accelerate.plan import plan_of
from pytest_ipfs_accelerate.settings import STAGE_SECONDS, Settings, check_timeouts, read_settings
from pytest_ipfs_accelerate.verdict import Stage

Read = Callable[..., Settings]


@pytest.fixture
def read(clean: pytest.Pytester) -> Read:
    def read(*arguments: str, ini: str = "") -> Settings:
        clean.path.joinpath("pytest.ini").write_text(f"[pytest]\n{ini}\n")
        return read_settings(clean.parseconfig(*arguments))

    return read


def test_nothing_is_the_default(read: Read, clean: pytest.Pytester) -> None:
    settings = read()
    assert settings.models is None
    assert settings.isolate == "process"
    assert settings.timeouts == STAGE_SECONDS
    assert settings.sources == {}
    assert not is_configured(clean.parseconfig())


VALUES = {
    "ledger": ("a.json", "b.json", "c.json"),
    "models": ("bert", "vit", "whisper"),
    "tasks": ("fill-mask", "ner", "pretraining"),
    "hardware": ("cpu", "cuda", "openvino"),
    "category": ("language", "vision", "audio"),
    "pipeline-map": ("a.json", "b.json", "c.json"),
    "registry": ("a.json", "b.json", "c.json"),
    "require": ("cpu", "cuda", "openvino"),
    "isolate": ("none", "process", "none"),
    "timeout": ("1", "2", "3"),
    "json": ("a.json", "b.json", "c.json"),
    "weights": ("cache", "hub", "cache"),
    "checkpoint": ("bert=a/b", "bert=a/c", "bert=a/d"),
    "precision": ("bf16", "fp16", "fp32"),
    "device": ("cuda=1", "cuda=2", "cuda=3"),
    "qualcomm-soc": ("36", "43", "69"),
    "cache-dir": ("a", "b", "c"),
    "cache-size": ("1", "2KB", "3 MB"),
    "skillset": ("a", "b", "c"),
    "bench-batch": ("1", "2", "3"),
    "bench-seconds": ("1", "2", "3"),
    "bench-save": ("a.json", "b.json", "c.json"),
    "bench-compare": ("a.json", "b.json", "c.json"),
    "bench-threshold": ("5%", "10", "50%"),
}
READ: dict[str, dict[str, object]] = {
    "cache-size": {"1": 1, "2KB": 2_000, "3 MB": 3_000_000},
    "bench-batch": {"1": 1, "2": 2, "3": 3},
    "bench-seconds": {"1": 1.0, "2": 2.0, "3": 3.0},
    "bench-threshold": {"5%": 0.05, "10": 0.1, "50%": 0.5},
}
"""What a value is read as, where that is not the value itself."""


def test_every_option_is_tested() -> None:
    assert set(VALUES) == {option.name for option in OPTIONS if option.kind is not Kind.FLAG}


@pytest.mark.parametrize("name", VALUES)
def test_command_line_then_environment_then_ini(read: Read, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    option = next(option for option in OPTIONS if option.name == name)
    key = {"timeout": "timeouts"}.get(name, name.replace("-", "_"))
    typed, exported, written = VALUES[name]
    read_as = READ.get(name, {value: value for value in VALUES[name]})

    def plain(value: object) -> object:
        if isinstance(value, dict):
            return f"{value[Stage.RUN]:g}"
        return value.name if isinstance(value, Path) else value[0] if isinstance(value, tuple) else value

    ini = f"{option.dest} = {written}"
    assert plain(getattr(read(ini=ini), key)) == read_as[written]
    monkeypatch.setenv(option.variable, exported)
    assert plain(getattr(read(ini=ini), key)) == read_as[exported]
    settings = read(f"{option.flag}={typed}", ini=ini)
    assert plain(getattr(settings, key)) == read_as[typed]
    assert settings.sources[name] == option.flag


@pytest.mark.parametrize(
    ("arguments", "variable", "ini", "models"),
    [
        (["--ipfs-all"], "", "ipfs_models = bert", ("*",)),
        (["--ipfs-models=bert"], "", "ipfs_all = true", ("bert",)),
        (["--ipfs-models=bert"], "1", "", ("bert",)),
        (["--ipfs-models=bert", "--ipfs-all"], "", "", ("*",)),
        ([], "1", "ipfs_models = bert", ("*",)),
        ([], "0", "ipfs_all = true", None),
        ([], "no", "ipfs_models = bert", ("bert",)),
        ([], "", "ipfs_all = false", None),
        ([], "", "ipfs_models = bert, vit", ("bert", "vit")),
        ([], "", "ipfs_models = bert vit", ("bert", "vit")),
    ],
)
def test_two_ways_to_select_have_one_precedence(
    read: Read,
    arguments: list[str],
    variable: str,
    ini: str,
    models: tuple[str, ...] | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PYTEST_IPFS_ALL", variable)
    assert read(*arguments, ini=ini).models == models


def test_paths_are_relative_to_where_they_stand(
    read: Read, clean: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    below = clean.mkdir("below")
    monkeypatch.chdir(below)
    root = f"--rootdir={clean.path}"
    configured = f"-c={clean.path / 'pytest.ini'}"
    assert read(root, configured, ini="ipfs_json = out.json").json == clean.path / "out.json"
    assert read(root, configured, "--ipfs-json=out.json").json == below / "out.json"


def test_limits_by_stage(read: Read) -> None:
    timeouts = read("--ipfs-timeout=30,export=900,run=0").timeouts
    assert (timeouts[Stage.BUILD], timeouts[Stage.EXPORT], timeouts[Stage.RUN]) == (30, 900, 0)


@pytest.mark.parametrize(
    ("timeouts", "words"),
    [
        ({"runs": 9}, "'runs' is not a stage; did you mean 'run'?"),
        ({"run": -1}, "a limit is zero"),
        ({"run": float("inf")}, "inf"),
    ],
)
def test_the_limits_that_a_hardware_declares_are_checked(timeouts: dict[Any, float], words: str) -> None:
    with pytest.raises(pytest.UsageError, match=re.escape(words)) as raised:
        check_timeouts(timeouts, "pytest_ipfs_hardware: ant: timeouts")
    assert str(raised.value).startswith("pytest_ipfs_hardware: ant: timeouts: ")


@pytest.mark.parametrize(
    ("hardware", "seconds"), [("qualcomm", 1800), ("apple", 900), ("executorch", 900), ("cpu", None)]
)
def test_a_hardware_has_limits_of_its_own_where_the_user_gives_none(
    clean: pytest.Pytester, hardware: str, seconds: float | None
) -> None:
    case = Case("bert", "fill-mask", hardware)
    for asked in ("", "export=9"):
        options = [f"--ipfs-timeout={asked}"] if asked else []
        assert plan_of(clean.parseconfig(*options)).job(case).timeouts.get(Stage.RUN) == seconds
    plan = plan_of(clean.parseconfig("--ipfs-timeout=run=120"))
    assert not plan.job(case).timeouts
    assert plan.reproduce(case).endswith(" --ipfs-timeout=run=120"), "the default of every other hardware, and said"


def test_sets_of_the_users_own(read: Read) -> None:
    assert read(ini="ipfs_sets =\n  mine = bert, vit\n  all_b = b*").sets == {"mine": ("bert", "vit"), "all_b": ("b*",)}


BAD = [
    (["--ipfs-models=brt"], ["--ipfs-models", "no model type 'brt'", "'bert'"]),
    (["--ipfs-models=zz*"], ["--ipfs-models", "'zz*'"]),
    (["--ipfs-models=@sampel"], ["--ipfs-models", "'@sampel'", "'@sample'"]),
    (["--ipfs-models=ant", "--ipfs-tasks=fil-mask"], ["--ipfs-tasks", "'fil-mask'", "'fill-mask'"]),
    (["--ipfs-models=ant", "--ipfs-hardware=opnvino"], ["--ipfs-hardware", "'opnvino'", "'openvino'"]),
    (["--ipfs-models=ant", "--ipfs-category=visoin"], ["--ipfs-category", "'visoin'", "'vision'"]),
    (["--ipfs-models=ant", "--ipfs-require=cudda"], ["--ipfs-require", "'cudda'", "'cuda'"]),
    (["--ipfs-models=ant", "--ipfs-isolate=proces"], ["--ipfs-isolate", "'proces'", "'process'"]),
    (["--ipfs-models=ant", "--ipfs-timeout=soon"], ["--ipfs-timeout", "'soon'", "seconds"]),
    (["--ipfs-models=ant", "--ipfs-timeout=-1"], ["--ipfs-timeout", "'-1'"]),
    (["--ipfs-models=ant", "--ipfs-timeout=nan"], ["--ipfs-timeout", "'nan'"]),
    (["--ipfs-models=ant", "--ipfs-timeout=exprt=3"], ["--ipfs-timeout", "'exprt'", "'export'"]),
    (["--ipfs-models=ant", "--ipfs-bench-batch=1,0"], ["--ipfs-bench-batch", "'0'", "1,4,8"]),
    (["--ipfs-models=ant", "--ipfs-bench-batch=few"], ["--ipfs-bench-batch", "'few'"]),
    (["--ipfs-models=ant", "--ipfs-bench-seconds=0"], ["--ipfs-bench-seconds", "'0'", "positive"]),
    (["--ipfs-models=ant", "--ipfs-bench-seconds=soon"], ["--ipfs-bench-seconds", "'soon'"]),
    (
        ["--ipfs-models=ant", "--ipfs-bench-seconds=300"],
        ["--ipfs-bench-seconds", "300 s", "--ipfs-timeout=measure=600"],
    ),
    (["--ipfs-models=ant", "--ipfs-bench", "--ipfs-timeout=4"], ["--ipfs-bench-seconds", "5 s", "after 4 s"]),
    (["--ipfs-models=ant", "--ipfs-bench-threshold=much"], ["--ipfs-bench-threshold", "'much'", "10%"]),
    (["--ipfs-models=ant", "--ipfs-bench-threshold=-3%"], ["--ipfs-bench-threshold", "'-3%'"]),
    (["--ipfs-models=ant", "--ipfs-bench-compare=none.json"], ["--ipfs-bench-compare", "none.json", "No such file"]),
    (["--ipfs-models=ant", "--ipfs-bench-save=no/such/base.json"], ["--ipfs-bench-save", "no directory"]),
    (["--ipfs-models=ant", "--ipfs-json=no/such/out.json"], ["--ipfs-json", "no directory"]),
    (["--ipfs-models=ant", "--ipfs-json=."], ["--ipfs-json", "is a directory"]),
    (["--ipfs-models=ant", "--ipfs-registry=none.json"], ["--ipfs-registry", "none.json", "No such file"]),
    (["--ipfs-models=ant", "--ipfs-pipeline-map=none.json"], ["--ipfs-pipeline-map", "none.json", "No such file"]),
]


@pytest.mark.parametrize(("arguments", "words"), BAD, ids=lambda value: value[-1] if "--" in value[-1] else "")
def test_a_bad_value_is_an_error_before_the_run(run: Run, arguments: list[str], words: list[str]) -> None:
    result = run(*arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    message = result.stderr.str()
    assert message.startswith("ERROR: ")
    assert "Traceback" not in message
    for word in words:
        assert word in message


def test_the_message_names_where_the_value_stands(
    run: Run, clean: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    (clean.path / "pytest.ini").write_text("[pytest]\nipfs_models = brt\n")
    assert "ini key ipfs_models: no model type 'brt'" in run().stderr.str()
    monkeypatch.setenv("PYTEST_IPFS_MODELS", "vitt")
    assert "environment variable PYTEST_IPFS_MODELS: no model type 'vitt'" in run().stderr.str()
    (clean.path / "pytest.ini").write_text("[pytest]\nipfs_sets = mine: bert\n")
    assert "ini key ipfs_sets: 'mine: bert'" in run().stderr.str()


def test_listing_reports_a_bad_value_too(run: Run) -> None:
    result = run("--ipfs-list", "--ipfs-models=brt")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "no model type 'brt'" in result.stderr.str()
