"""What is read from registry files and pipeline maps, and what is said of one that is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from conftest import Run
from pytest_ipfs_accelerate.builtin import TASKS
from pytest_ipfs_accelerate.matrix import UnknownName, absent_members, base_task, choose
from pytest_ipfs_accelerate.registry import CATEGORIES, load_registry, merge, read_pipeline_map

ROW: dict[str, Any] = {
    "category": "language",
    "config_class": "BertConfig",
    "config": {"hidden_size": 8, "nested": {"a": 1, "b": 2}},
    "processor": "bert-wordpiece",
    "tasks": {
        "fill-mask": {"class": "BertForMaskedLM"},
        "feature-extraction": {"class": "BertModel", "config": {"nested": {"b": 3}}, "processor": "vit-32"},
    },
    "seed": 7,
    "needs": ["timm"],
}


def write(path: Path, content: Any) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_every_shipped_row_is_a_recipe() -> None:
    registry = load_registry()
    assert {"bert", "vit", "whisper", "llava"} <= set(registry)
    for model in registry:
        assert registry.category(model) in CATEGORIES
        for task in registry.tasks(model):
            assert base_task(task) in TASKS
            recipe = registry.recipe(model, task)
            assert recipe.processor or recipe.inputs["why"]


def test_a_recipe_merges_the_task_over_the_model(tmp_path: Path) -> None:
    registry = load_registry(write(tmp_path / "rows.json", {"models": {"mine": ROW}}))
    plain, changed = registry.recipe("mine", "fill-mask"), registry.recipe("mine", "feature-extraction")
    assert plain.config == ROW["config"]
    assert changed.config == {"hidden_size": 8, "nested": {"a": 1, "b": 3}}
    assert (plain.processor["class"], changed.processor["class"]) == ("BertTokenizer", "ViTImageProcessorPil")
    assert (plain.seed, plain.needs, plain.category) == (7, ("timm",), "language")
    assert "bert" in registry  # laid over the shipped rows, not in their place


def test_the_later_row_wins(tmp_path: Path) -> None:
    file = write(tmp_path / "rows.json", {"models": {"bert": ROW, "mine": ROW}})
    registry = load_registry(file, {"mine": {**ROW, "seed": 9}})
    assert registry.recipe("bert", "fill-mask").seed == 7
    assert registry.recipe("mine", "fill-mask").seed == 9


def test_merging_changes_neither() -> None:
    base, over = {"a": {"b": 1, "c": 2}, "d": 3}, {"a": {"b": 4}, "d": {"e": 5}}
    assert merge(base, over) == {"a": {"b": 4, "c": 2}, "d": {"e": 5}}
    assert base == {"a": {"b": 1, "c": 2}, "d": 3}


def rows(**changes: Any) -> dict[str, Any]:
    return {"models": {"mine": {**ROW, **changes}}}


def without(key: str) -> dict[str, Any]:
    return {"models": {"mine": {name: value for name, value in ROW.items() if name != key}}}


BAD_ROWS: dict[str, tuple[Any, list[str]]] = {
    "not JSON": ('{"models": {\n  "mine": nope\n}}', ["bad.json:2:11", "not JSON"]),
    "cut off": ('{"models": {', ["bad.json:1:13", "not JSON"]),
    "not an object": ([1], ["bad.json", "Expected `object`"]),
    "no models": ({"processors": {}}, ["bad.json", "`models`"]),
    "unknown key of the file": ({"models": {}, "proccessors": {}}, ["`proccessors`", "'processors'"]),
    "another schema": ({"models": {}, "schema": 99}, ["schema", "99"]),
    "unknown key of a row": (rows(confg_class="X"), ["models.mine", "`confg_class`", "'config_class'"]),
    "missing key of a row": (without("config_class"), ["models.mine", "`config_class`"]),
    "wrong type": (rows(seed="five"), ["models.mine.seed", "Expected `int`"]),
    "wrong category": (rows(category="sound"), ["models.mine.category", "sound"]),
    "no task": (rows(tasks={}), ["models.mine.tasks", "names no task"]),
    "unknown key of a task": (
        rows(tasks={"fill-mask": {"klass": "X"}}),
        ["models.mine.tasks.fill-mask", "class"],
    ),
    "wrong type in a task": (
        rows(tasks={"fill-mask": {"class": "X", "config": 3}}),
        ["models.mine.tasks.fill-mask.config", "Expected `object`"],
    ),
    "a task that is no object": (rows(tasks={"fill-mask": "X"}), ["models.mine.tasks", "Expected `object`"]),
    "a row that is no object": ({"models": {"mine": 3}}, ["models", "Expected `object`"]),
    "no such processor": (rows(processor="bert-wordpeice"), ["models.mine", "'bert-wordpeice'", "'bert-wordpiece'"]),
    "a key twice": ('{"models": {"mine": {}, "mine": {}}}', ["bad.json", "'mine'", "twice"]),
}


@pytest.mark.parametrize("name", BAD_ROWS)
def test_a_bad_registry_is_an_error_before_the_run(run: Run, clean: pytest.Pytester, name: str) -> None:
    content, words = BAD_ROWS[name]
    write(clean.path / "bad.json", content)
    result = run("--ipfs-registry=bad.json", "--ipfs-models=m*")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    message = result.stderr.str()
    assert message.startswith("ERROR: ")
    assert "Traceback" not in message
    for word in ("bad.json", *words):
        assert word in message


BAD_MAPS: dict[str, tuple[Any, list[str]]] = {
    "not JSON": ("{bert}", ["bad.json:1:2", "not JSON"]),
    "not an object": (["bert"], ["expected an object", "list"]),
    "tasks that are no list": ({"bert": "fill-mask"}, ["bert", "Expected `array`"]),
    "a task that is no text": ({"bert": [3]}, ["bert[0]", "Expected `str`"]),
    "no such model type": ({"brt": ["fill-mask"]}, ["brt", "'bert'"]),
    "no such task": ({"bert": ["fill-msk"]}, ["bert", "'fill-msk'", "'fill-mask'"]),
    "no task": ({"bert": []}, ["bert", "names no task"]),
}


@pytest.mark.parametrize("name", BAD_MAPS)
def test_a_bad_map_is_an_error_before_the_run(run: Run, clean: pytest.Pytester, name: str) -> None:
    content, words = BAD_MAPS[name]
    write(clean.path / "bad.json", content)
    result = run("--ipfs-pipeline-map=bad.json", "--ipfs-all")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    for word in ("--ipfs-pipeline-map", "bad.json", *words):
        assert word in result.stderr.str()


def test_a_map_narrows_orders_and_resolves(tmp_path: Path) -> None:
    registry = load_registry()
    aliases = {alias: name for name, spec in TASKS.items() for alias in spec.aliases}
    found = read_pipeline_map(write(tmp_path / "m.json", {"bert": ["ner", "fill-mask", "ner"]}), registry, aliases)
    assert found == {"bert": ("token-classification", "fill-mask")}
    registry.narrow(found)
    assert list(registry) == ["bert"]
    assert registry.tasks("bert") == ("token-classification", "fill-mask")


# The words of a selection, as pure functions

NAMES = ("bert", "vit", "whisper")
SETS = {"two": ("vit", "bert", "gone")}


@pytest.mark.parametrize(
    ("words", "chosen"),
    [
        (["vit", "bert"], ["vit", "bert"]),
        (["vit", "vit"], ["vit"]),
        (["*i*"], ["vit", "whisper"]),
        (["!vit"], ["bert", "whisper"]),
        (["*", "!*i*"], ["bert"]),
        (["!@two"], ["whisper"]),
        (["@two"], ["vit", "bert"]),
        (["old"], ["whisper"]),
        (["vit", "!vit"], []),
        ([], list(NAMES)),
    ],
)
def test_choosing(words: list[str], chosen: list[str]) -> None:
    assert choose(words, NAMES, aliases={"old": "whisper"}, sets=SETS) == chosen


@pytest.mark.parametrize("word", ["brt", "!brt", "z*", "@three", "", "!", "Bert"])
def test_a_word_that_names_nothing(word: str) -> None:
    with pytest.raises(UnknownName):
        choose([word], NAMES, sets=SETS)


def test_absent_members_of_a_set() -> None:
    assert absent_members(["@two", "bert"], NAMES, SETS) == {"two": ["gone"]}
    assert absent_members(["bert"], NAMES, SETS) == {}
