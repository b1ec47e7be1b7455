"""Rows are proposed by rules, tried, and written so that they can be read back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import transformers.models.auto.modeling_auto as auto
from transformers import CONFIG_MAPPING

from pytest_ipfs_accelerate import Outcome, Stage, Verdict
from pytest_ipfs_accelerate.builtin import HARDWARE, TASKS
from pytest_ipfs_accelerate.matrix import Case, base_task
from pytest_ipfs_accelerate.proposals import command
from pytest_ipfs_accelerate.proposals.exceptions import exception_of, tables
from pytest_ipfs_accelerate.proposals.heads import Head, heads, hub_checkpoint
from pytest_ipfs_accelerate.proposals.propose import candidates
from pytest_ipfs_accelerate.proposals.rows import beyond, common, row_of
from pytest_ipfs_accelerate.proposals.shrink import Cut, laid_over, shrink
from pytest_ipfs_accelerate.proposals.sync import difference, strata
from pytest_ipfs_accelerate.proposals.trial import missing_library, propose, run_proposed
from pytest_ipfs_accelerate.registry import load_registry, read_json, shipped_registry
from pytest_ipfs_accelerate.registry.rows import expand
from pytest_ipfs_accelerate.registry.writing import dump, share
from pytest_ipfs_accelerate.specs import Job, Recipe


def shipped_rows() -> dict[str, Any]:
    file = read_json(shipped_registry(), "")
    return {model: expand(row, file["shapes"], model) for model, row in file["models"].items()}


def head(model: str, task: str) -> Head:
    return next(each for each in heads()[model] if each.key == task)


def test_every_class_of_every_auto_mapping_is_a_head() -> None:
    wanted = {
        (model, name)
        for mapping, classes in vars(auto).items()
        if mapping.startswith("MODEL") and mapping.endswith("_MAPPING_NAMES")
        for model, names in classes.items()
        for name in ([names] if isinstance(names, str) else names)
        if model in CONFIG_MAPPING
    }
    assert wanted == {(each.model, each.model_class) for found in heads().values() for each in found}


def test_every_task_of_a_head_is_declared() -> None:
    assert {each.task for found in heads().values() for each in found} <= set(TASKS)


def test_two_classes_of_one_task_have_keys_of_their_own() -> None:
    keys = [each.key for each in heads()["deit"]]
    assert "image-classification" in keys
    assert "image-classification:DeiTForImageClassificationWithTeacher" in keys
    assert all(len({each.key for each in found}) == len(found) for found in heads().values())


def test_the_checkpoint_that_people_use() -> None:
    assert hub_checkpoint("electra") == "google/electra-small-discriminator"


@pytest.mark.parametrize("model", list(heads())[::40])
def test_a_config_is_cut(model: str) -> None:
    options = shrink(model, over=exception_of(heads()[model][0]).get("config"))
    json.dumps(options)
    config = CONFIG_MAPPING[model](**options)
    sizes = [getattr(config, name, 0) for name in ("hidden_size", "d_model", "num_hidden_layers", "vocab_size")]
    assert all(size <= 512 for size in sizes if isinstance(size, int))


def test_every_exception_is_for_something() -> None:
    from fnmatch import fnmatchcase

    names = {
        name
        for found in heads().values()
        for each in found
        for name in (each.model, f"{each.model}:{each.task}", each.model_class)
    }
    assert not [key for key in tables() if not any(fnmatchcase(name, key) for name in names)]


def test_laying_over_changes_neither() -> None:
    base: Mapping[str, Any] = {"a": {"b": 1}, "c": 2}
    assert laid_over(base, {"a": {"d": 3}}) == {"a": {"b": 1, "d": 3}, "c": 2}
    assert base == {"a": {"b": 1}, "c": 2}


def test_what_is_common_and_what_is_beyond_it_make_the_whole() -> None:
    one, other = {"a": 1, "b": {"c": 2, "d": 3}}, {"a": 1, "b": {"c": 2, "d": 4}, "e": 5}
    shared = common([one, other])
    assert shared == {"a": 1, "b": {"c": 2}}
    assert laid_over(shared, beyond(one, shared)) == one
    assert laid_over(shared, beyond(other, shared)) == other


def test_a_row_gives_back_the_recipes_that_it_was_made_of(tmp_path: Path) -> None:
    recipes = {each.key: next(candidates(each, Cut())) for each in heads()["electra"]}
    recipes["fill-mask"] = replace(recipes["fill-mask"], seed=3)
    processors: dict[str, Any] = {}
    row = row_of(recipes, processors)
    shared, shapes = share({"electra": row, "twin": row, "third": row}, {})
    file = tmp_path / "rows.json"
    file.write_text(dump({"schema": 1, "processors": processors, "shapes": shapes, "models": shared}))
    registry = load_registry(file)
    for task, recipe in recipes.items():
        kept = ("model_class", "config_class", "config", "processor", "inputs", "seed", "part")
        found = registry.recipe("electra", task)
        assert {name: getattr(found, name) for name in kept} == {name: getattr(recipe, name) for name in kept}


def test_a_library_that_one_head_needs_is_not_asked_of_the_others() -> None:
    recipes = {each.key: next(candidates(each, Cut())) for each in heads()["electra"][:2]}
    one, other = recipes
    recipes[one] = replace(recipes[one], needs=("diffusers",))
    row = row_of(recipes, {})
    assert "needs" not in row
    assert row["tasks"][one]["needs"] == ["diffusers"]
    assert "needs" not in row["tasks"][other]
    recipes[other] = replace(recipes[other], needs=("diffusers", "timm"))
    row = row_of(recipes, {})
    assert row["needs"] == ["diffusers"]
    assert row["tasks"][other]["needs"] == ["timm"]


def test_a_proposal_passes_every_check() -> None:
    found = propose(head("electra", "token-classification"))
    assert found.verdict.outcome is Outcome.PASSED
    assert found.recipe is not None
    assert found.recipe.processor is not None


def test_a_head_that_nothing_can_be_proposed_for_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: Any) -> Any:
        raise ImportError("Dinat requires the natten library but it was not found")

    monkeypatch.setattr("pytest_ipfs_accelerate.proposals.trial.candidates", broken)
    found = propose(head("electra", "fill-mask"))
    assert found.recipe is None
    assert found.verdict.outcome is Outcome.FAILED
    assert found.verdict.reason.startswith("no recipe: ImportError")
    assert missing_library(found.verdict) == "natten"


def test_a_library_is_missing_only_where_an_import_failed() -> None:
    verdict = Verdict(
        model="a",
        task="b",
        hardware="cpu",
        outcome=Outcome.FAILED,
        stage=Stage.BUILD,
        reason="pip install x",
        exception="ValueError",
    )
    assert missing_library(verdict) == ""


def test_a_case_without_a_row_is_proposed_on_the_spot_and_says_so() -> None:
    recipe = Recipe(
        model="electra",
        category="language",
        model_class="ElectraForMaskedLM",
        config_class="",
        config={},
        processor=None,
        proposed="transformers 9 has it",
    )
    job = Job(
        case=Case("electra", "fill-mask", "cpu"),
        recipe=recipe,
        hardware=HARDWARE["cpu"].target,
        task=TASKS["fill-mask"].target,
    )
    verdict = run_proposed(job, lambda stage: None)
    assert verdict.outcome is Outcome.PASSED
    assert verdict.evidence["proposed"] == "transformers 9 has it"


def test_the_difference_to_the_installed_transformers() -> None:
    classes = {model: {each.key: each.model_class for each in found} for model, found in heads().items()}
    assert not difference(classes)
    del classes["bert"]
    del classes["vit"]["image-classification"]
    classes["gpt2"]["text-generation"] = "GPT2Model"
    classes["gone"] = {"fill-mask": "GoneForMaskedLM"}
    found = difference(classes)
    assert set(found.new) == {"bert", "vit"}
    assert found.new["vit"] == ["image-classification"]
    assert found.gone == {"gone": ["fill-mask"]}
    assert found.changed == {"gpt2": ["text-generation"]}
    assert "changed: gpt2: text-generation" in list(found.lines())


def test_the_sample_has_every_pair_of_category_and_task() -> None:
    rows = shipped_rows()
    chosen = strata(rows)
    pairs = {
        (row["category"], base_task(task))
        for row in rows.values()
        for task, head in row["tasks"].items()
        if not row.get("needs") and not head.get("needs") and head.get("inputs", {}).get("tensors") != {}
    }
    assert {(rows[model]["category"], base_task(task)) for model in chosen for task in rows[model]["tasks"]} == pairs
    assert tuple(chosen) == tuple(load_registry().sets["strata"])


def test_what_rows_share_is_named_once_and_put_back() -> None:
    file = read_json(shipped_registry(), "")
    rows = shipped_rows()
    shared, shapes = share(rows, file["shapes"])
    assert {model: expand(row, shapes, model) for model, row in shared.items()} == rows
    assert shared == file["models"]
    assert shapes == file["shapes"]


def test_the_registry_stands_as_it_is_written() -> None:
    text = shipped_registry().read_text("utf-8")
    assert dump(json.loads(text)) + "\n" == text
    assert len(text.encode()) < 2_000_000


def test_show(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["show", "bert"]) == 0
    assert json.loads(capsys.readouterr().out)["bert"]["tasks"]["fill-mask"]["class"] == "BertForMaskedLM"
    assert command.main(["show", "brt"]) == 2
    assert "no model type 'brt'; did you mean 'bert'" in capsys.readouterr().err


def test_map(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["map", "--out", str(tmp_path)]) == 0
    forward = json.loads((tmp_path / "model_to_tasks.json").read_text())
    reverse = json.loads((tmp_path / "task_to_models.json").read_text())
    assert forward["bert"][0] == "fill-mask"
    assert "bert" in reverse["fill-mask"]
    assert {(m, t) for m, tasks in forward.items() for t in tasks} == {
        (m, t) for t, models in reverse.items() for m in models
    }
    assert command.main(["map", "--out", str(tmp_path / "no")]) == 2


def test_sync_writes_a_row_that_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = json.loads(shipped_registry().read_text("utf-8"))
    del content["models"]["electra"]["tasks"]["fill-mask"]
    file = tmp_path / "registry.json"
    file.write_text(json.dumps(content))
    assert command.main(["sync", "--registry", str(file), "--processes", "1"]) == 0
    output = capsys.readouterr().out
    assert "new: electra: fill-mask" in output
    assert "nothing written: --write does" in output
    assert json.loads(file.read_text()) == content
    assert command.main(["sync", "--registry", str(file), "--processes", "1", "--write"]) == 0
    assert "1 row proposed, 1 of them pass" in capsys.readouterr().out
    assert load_registry(file).recipe("electra", "fill-mask").model_class == "ElectraForMaskedLM"
    assert command.main(["sync", "--registry", str(file), "--again", "electro"]) == 2


def test_check_finds_a_row_that_is_not_usable(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = json.loads(shipped_registry().read_text("utf-8"))
    content["models"] = {"electra": content["models"]["electra"]}
    content["models"]["electra"]["config_class"] = "ElektraConfig"
    file = tmp_path / "registry.json"
    file.write_text(json.dumps(content))
    assert command.main(["check", "--registry", str(file)]) == 1
    assert "electra::fill-mask: AttributeError" in capsys.readouterr().out
