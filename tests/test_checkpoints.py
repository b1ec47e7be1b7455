"""The options of real checkpoints: what is asked for, what cannot be, and how a case without its checkpoint ends."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from real import cached

from conftest import Run
from pytest_ipfs_accelerate.matrix import Case
from pytest_ipfs_accelerate.plan import plan_of
from pytest_ipfs_accelerate.reports.terminal import head_lines
from pytest_ipfs_accelerate.settings import STAGE_SECONDS, read_settings
from pytest_ipfs_accelerate.specs import CheckpointSource, Recipe
from pytest_ipfs_accelerate.verdict import Outcome, Stage, Verdict

CASE = Case("bert", "fill-mask", "cpu")


def config_of(directory: Path, model: str = "bert", **nested: object) -> Path:
    directory.mkdir(parents=True)
    (directory / "config.json").write_text(json.dumps({"model_type": model, **nested}))
    return directory


def recipe_of(clean: pytest.Pytester, *arguments: str) -> Recipe:
    return plan_of(clean.parseconfig(*arguments)).job(CASE).recipe


def test_tiny_is_the_default(clean: pytest.Pytester) -> None:
    assert recipe_of(clean).checkpoint is None


@pytest.mark.parametrize(
    ("options", "source"),
    [
        (["--ipfs-weights=cache"], CheckpointSource(kind="cache", place="google-bert/bert-base-uncased")),
        (["--ipfs-weights=hub"], CheckpointSource(kind="hub", place="google-bert/bert-base-uncased")),
        (["--ipfs-checkpoint=bert=a/b"], CheckpointSource(kind="cache", place="a/b")),
        (
            ["--ipfs-checkpoint=bert=a/b@v2", "--ipfs-weights=hub"],
            CheckpointSource(kind="hub", place="a/b", revision="v2"),
        ),
        (["--ipfs-checkpoint=vit=a/b"], None),
    ],
)
def test_what_is_asked_for(clean: pytest.Pytester, options: list[str], source: CheckpointSource | None) -> None:
    assert recipe_of(clean, *options).checkpoint == source


def test_a_directory_from_where_it_was_named(clean: pytest.Pytester, tmp_path: Path) -> None:
    mine = config_of(clean.path / "mine")
    expected = CheckpointSource(kind="directory", place=str(mine.resolve()))
    for word in ("mine", "./mine", str(mine)):
        assert recipe_of(clean, f"--ipfs-checkpoint=bert={word}").checkpoint == expected
    below = config_of(clean.path / "below" / "mine")
    (clean.path / "below" / "pytest.ini").write_text("[pytest]\nipfs_checkpoint = bert=mine\n")
    found = recipe_of(clean, f"--rootdir={clean.path / 'below'}", "-c", "below/pytest.ini").checkpoint
    assert found == CheckpointSource(kind="directory", place=str(below.resolve()))


def test_a_config_that_is_nested(clean: pytest.Pytester) -> None:
    config_of(clean.path / "both", "other", text_config={"model_type": "bert"})
    assert recipe_of(clean, "--ipfs-checkpoint=bert=both").checkpoint is not None


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("--ipfs-weights=hubb", "'hubb' is not a kind of weights; did you mean 'hub'?"),
        ("--ipfs-checkpoint=bert", "'bert' is not of the form bert=DIRECTORY or bert=HUB_ID"),
        ("--ipfs-checkpoint=ber=./a", "no model type 'ber'; did you mean 'bert'*"),
        ("--ipfs-checkpoint=bert=./a", "bert=./a: there is no directory *a"),
        ("--ipfs-checkpoint=bert=here/a", "bert=here/a: there is no directory *here/a"),
        ("--ipfs-checkpoint=bert=a/b/c", "bert=a/b/c: 'a/b/c' is neither a directory here nor *a Hub id*"),
        ("--ipfs-checkpoint=bert=here", "bert=here: *here has no config.json"),
        ("--ipfs-checkpoint=bert=broken", "bert=broken: *config.json cannot be read: *"),
        ("--ipfs-checkpoint=bert=vit", "bert=vit: *config.json says model_type 'vit', not 'bert'"),
        ("--ipfs-checkpoint=bert=typeless", "bert=typeless: *config.json says no model_type"),
        ("--ipfs-checkpoint=bert=a/b,bert=a/c", "bert=a/c, and bert=a/b is given, too"),
    ],
)
def test_what_cannot_be_asked_for(clean: pytest.Pytester, option: str, words: str) -> None:
    (clean.path / "here").mkdir()
    config_of(clean.path / "vit", "vit")
    (config_of(clean.path / "broken") / "config.json").write_text("{")
    (config_of(clean.path / "typeless") / "config.json").write_text("{}")
    result = clean.runpytest_inprocess("--ipfs-models=bert", option)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: {option.partition('=')[0]}: {words}"])


def test_a_download_has_more_time_unless_the_user_says(clean: pytest.Pytester) -> None:
    assert read_settings(clean.parseconfig("--ipfs-weights=cache")).timeouts == STAGE_SECONDS
    found = read_settings(clean.parseconfig("--ipfs-weights=hub")).timeouts
    assert found == {**STAGE_SECONDS, Stage.BUILD: 3600}
    assert read_settings(clean.parseconfig("--ipfs-weights=hub", "--ipfs-timeout=7")).timeouts[Stage.BUILD] == 7


def test_the_command_that_runs_a_case_again(clean: pytest.Pytester) -> None:
    mine = config_of(clean.path / "mine").resolve()
    plan = plan_of(clean.parseconfig("--ipfs-checkpoint=bert=mine,vit=a/b@v2", "--ipfs-weights=hub"))
    assert plan.reproduce(CASE) == f"pytest ipfs/bert::fill-mask-cpu --ipfs-weights=hub --ipfs-checkpoint=bert={mine}"
    vit = Case("vit", "image-classification", "cpu")
    assert plan.reproduce(vit).endswith(" --ipfs-weights=hub --ipfs-checkpoint=vit=a/b@v2")


def test_the_header_names_them(run: Run, clean: pytest.Pytester) -> None:
    config_of(clean.path / "mine", "ant")
    header = "ipfs: real checkpoints: ant from *mine, the others from those in the local Hugging Face cache"
    run("--ipfs-models=ant,bee", "--ipfs-checkpoint=ant=mine", "--ipfs-weights=cache").stdout.fnmatch_lines([header])
    assert "real checkpoints" not in run("--ipfs-models=ant").stdout.str()


def passed(**checkpoint: object) -> Verdict:
    evidence = {"checkpoint": checkpoint}
    return Verdict(**CASE._asdict(), outcome=Outcome.PASSED, stage=Stage.BATCH, evidence=evidence)


def test_heads_that_were_newly_initialised_are_named() -> None:
    new, held = passed(**{"newly initialised": ["classifier.weight"]}), passed(**{"newly initialised": []})
    assert head_lines([held, passed()]) == []
    assert head_lines([new, held, new]) == [
        "2 cases ran on newly initialised heads, which the checkpoint lacks: bert::fill-mask"
    ]


def test_a_ledger_of_tiny_checkpoints_is_not_wrong_about_a_real_one_that_passes(clean: pytest.Pytester) -> None:
    entry = {"stage": "parity", "exception": "Fault", "reason": "so it is"}
    (clean.path / "mine.json").write_text(json.dumps({"failures": {"bert::fill-mask-cpu": entry}}))
    plan = plan_of(clean.parseconfig("--ipfs-ledger=mine.json"))
    assert plan.judge(passed(source="tiny")).outcome is Outcome.FIXED
    assert plan.judge(passed(source="directory")).outcome is Outcome.PASSED


@pytest.mark.parametrize("required", [(), ("--ipfs-require=cpu",)], ids=["", "required"])
def test_a_checkpoint_that_is_not_here_is_a_skip_with_the_reason(
    clean: pytest.Pytester, required: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the hardware is required: it is the checkpoint that is not here."""
    monkeypatch.setenv("HF_HUB_CACHE", str(clean.path / "hub"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for weights in ("cache", "hub"):
        result = clean.runpytest_subprocess(
            *(
                "-p",
                "no:hypothesispytest",
                "--ipfs-models=bert",
                "--ipfs-tasks=fill-mask",
                "--ipfs-hardware=cpu",
                "-rs",
            ),
            *(f"--ipfs-weights={weights}", "--ipfs-json=found.json", *required),
        )
        result.assert_outcomes(skipped=1)
        result.stdout.fnmatch_lines(["SKIPPED*google-bert/bert-base-uncased is not in the local Hugging Face cache*"])
        (verdict,) = json.loads((clean.path / "found.json").read_text())["verdicts"]
        assert (verdict["outcome"], verdict["stage"]) == ("unavailable", "build")
        assert verdict["exception"] == "CheckpointUnavailable"


def test_one_in_the_cache_runs_from_the_command_line(clean: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    cached(clean.path / "hub", "google-bert/bert-base-uncased", seed=7)
    monkeypatch.setenv("HF_HUB_CACHE", str(clean.path / "hub"))
    clean.runpytest_subprocess(
        *("-p", "no:hypothesispytest", "--ipfs-models=bert", "--ipfs-tasks=fill-mask", "--ipfs-hardware=cpu"),
        *("--ipfs-weights=cache", "--ipfs-json=found.json"),
    ).assert_outcomes(passed=1)
    (verdict,) = json.loads((clean.path / "found.json").read_text())["verdicts"]
    assert verdict["evidence"]["checkpoint"]["id"] == "google-bert/bert-base-uncased"


def test_a_fixture_skips_where_the_checkpoint_is_not_here(
    clean: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(clean.path / "hub"))
    clean.makepyfile(
        """
        import pytest
        pytestmark = pytest.mark.ipfs_cases(models="bert", tasks="fill-mask", hardware="cpu")
        def test_checkpoint(ipfs_checkpoint): raise SystemError
        def test_handler(ipfs_handler): raise SystemError
        """
    )
    clean.runpytest_subprocess("-p", "no:hypothesispytest", ".", "--ipfs-weights=cache").assert_outcomes(skipped=2)


def test_the_host_may_ask_the_hub_only_where_that_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    from pytest_ipfs_accelerate.host import Host

    monkeypatch.delenv("HF_HUB_OFFLINE")
    assert Host()._environment()["HF_HUB_OFFLINE"] == "1"
    assert Host(network=True)._environment()["HF_HUB_OFFLINE"] == "0"
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert Host(network=True)._environment()["HF_HUB_OFFLINE"] == "1"
