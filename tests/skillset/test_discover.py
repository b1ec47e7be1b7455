"""Skill classes are found without an import; what is broken is found too, and nothing vanishes."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_ipfs_accelerate.builtin import TASKS
from pytest_ipfs_accelerate.skillset.foreign.discover import Discovery, discover
from pytest_ipfs_accelerate.skillset.foreign.selection import task_of, tasks_on, words_of

MODELS = ("bert", "vit", "data2vec-text", "clip", "videomae", "t5")
FACTORY = "def create_cpu_fill_mask_endpoint_handler(self): ..."


def skill_class(name: str, *lines: str, bases: str = "") -> str:
    body = "\n".join(f"    {line}" for line in lines or ("pass",))
    return f"class {name}{bases}:\n{body}\n"


def find(base: Path, *words: str) -> Discovery:
    return discover(words or (".",), base, MODELS)


def test_nothing_is_imported(tmp_path: Path) -> None:
    (tmp_path / "hf_bert.py").write_text("raise SystemExit('imported')\n" + skill_class("hf_bert", FACTORY))
    skill = find(tmp_path).skills["bert"]
    assert (skill.source.module, skill.source.root, skill.source.line) == ("hf_bert", str(tmp_path), 2)
    assert skill.factories == (("cpu", "fill_mask"),)


def test_the_name_of_a_type_that_is_no_identifier(tmp_path: Path) -> None:
    (tmp_path / "skills.py").write_text(skill_class("hf_data2vec_text") + skill_class("hf_bert"))
    assert list(find(tmp_path, "skills.py").skills) == ["bert", "data2vec-text"]


def test_a_package_is_imported_by_its_whole_name(tmp_path: Path) -> None:
    inner = tmp_path / "shop" / "skills"
    inner.mkdir(parents=True)
    (tmp_path / "shop/__init__.py").touch()
    (inner / "__init__.py").touch()
    (inner / "hf_bert.py").write_text(skill_class("hf_bert"))
    source = find(tmp_path, "shop/skills").skills["bert"].source
    assert (source.root, source.module) == (str(tmp_path), "shop.skills.hf_bert")


def test_an_importable_package_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "lib" / "a_shop_of_skills"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise SystemExit('imported')")
    (package / "hf_bert.py").write_text(skill_class("hf_bert"))
    monkeypatch.syspath_prepend(str(tmp_path / "lib"))
    for word in ("a_shop_of_skills", "a_shop_of_skills.hf_bert"):
        assert find(tmp_path, word).skills["bert"].source.module == "a_shop_of_skills.hf_bert"
    with pytest.raises(pytest.UsageError, match=r"no module 'hf_brt' in .*did you mean 'hf_bert'"):
        find(tmp_path, "a_shop_of_skills.hf_brt")


@pytest.mark.parametrize("name", ["hf_bert.py", "bert.py", "hf_gone.py"])
def test_a_file_that_does_not_parse_has_its_class(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("def broken(:\n")
    (tmp_path / "hf_vit.py").write_text(skill_class("hf_vit"))
    skills = find(tmp_path).skills
    model = name.removesuffix(".py").removeprefix("hf_")
    assert (skills[model].source.name, skills[model].source.line) == (f"hf_{model}", 0)
    assert bool(skills[model].fault) == (model == "gone")


def test_a_file_that_does_not_parse_and_says_nothing_of_its_class_is_named(tmp_path: Path) -> None:
    (tmp_path / "skills.py").write_text("class hf_bert:\n    def broken(:\n")
    with pytest.raises(pytest.UsageError, match=r"skills\.py:2: does not parse"):
        find(tmp_path)
    (tmp_path / "hf_vit.py").write_text(skill_class("hf_vit"))
    found = find(tmp_path)
    assert list(found.skills) == ["vit"]
    assert [warning.partition(": ")[0] for warning in found.warnings] == [f"{tmp_path / 'skills.py'}:2"]


def test_a_null_byte_does_not_end_the_search(tmp_path: Path) -> None:
    (tmp_path / "hf_bert.py").write_bytes(b"class hf_bert:\0 pass")
    assert find(tmp_path).skills["bert"].source.file == str(tmp_path / "hf_bert.py")


def test_a_class_that_the_file_takes_from_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "hf_bert.py").write_text("from somewhere import hf_bert\n")
    assert find(tmp_path).skills["bert"].source.line == 0
    (tmp_path / "models.py").write_text(skill_class("hf_bert"))
    found = find(tmp_path)
    assert found.skills["bert"].source.file == str(tmp_path / "models.py")
    assert not found.warnings


def test_no_model_type_of_the_name(tmp_path: Path) -> None:
    (tmp_path / "hf_bart.py").write_text(skill_class("hf_bart"))
    with pytest.raises(
        pytest.UsageError, match=r"hf_bart\.py:1: no model type 'bart' in the registry; did you mean 'bert'"
    ):
        find(tmp_path)
    (tmp_path / "hf_vit.py").write_text(skill_class("hf_vit"))
    assert find(tmp_path).skills["bart"].fault == "no model type 'bart' in the registry; did you mean 'bert'?"


def test_a_base_is_no_skill(tmp_path: Path) -> None:
    (tmp_path / "base.py").write_text(skill_class("hf_base", FACTORY))
    (tmp_path / "hf_bert.py").write_text("from base import hf_base\n" + skill_class("hf_bert", bases="(hf_base)"))
    (tmp_path / "hf_utils.py").write_text("width = 3\n")
    assert list(find(tmp_path).skills) == ["bert"]


def test_factories_that_a_base_in_another_file_has(tmp_path: Path) -> None:
    shop = tmp_path / "shop"
    (shop / "common").mkdir(parents=True)
    for directory in (shop, shop / "common"):
        (directory / "__init__.py").touch()
    (shop / "common/base.py").write_text(
        "from ..tools import Openers\n" + skill_class("Skill", FACTORY, bases="(Openers)")
    )
    (shop / "tools.py").write_text(
        "from shop.common import base\nfrom shop.hf_bert import hf_bert\n"
        + skill_class("Openers", "def create_cuda_llm_endpoint_handler(self): ...", bases="(hf_bert)")
    )
    (shop / "hf_bert.py").write_text(
        "from .common.base import Skill as Base\n" + skill_class("hf_bert", bases="(Base)")
    )
    assert find(tmp_path, "shop").skills["bert"].factories == (("cpu", "fill_mask"), ("cuda", "llm"))


def test_two_of_one_type(tmp_path: Path) -> None:
    for name in ("hf_bert.py", "hf_bert copy.py", "old.py"):
        (tmp_path / name).write_text(skill_class("hf_bert"))
    found = find(tmp_path)
    assert found.skills["bert"].source.file == str(tmp_path / "hf_bert.py")
    assert sorted(warning.partition(":")[0] for warning in found.warnings) == [
        str(tmp_path / "hf_bert copy.py"),
        str(tmp_path / "old.py"),
    ]
    (tmp_path / "hf_bert.py").unlink()
    with pytest.raises(pytest.UsageError, match=r"hf_bert is there more than once.*copy\.py:1 and .*old\.py:1"):
        find(tmp_path)
    assert list(find(tmp_path, "old.py", "old.py").skills) == ["bert"]


def test_hidden_directories_and_environments_are_left_out(tmp_path: Path) -> None:
    for name in (".git", "venv", "__pycache__"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "hf_bert.py").write_text(skill_class("hf_bert"))
    (tmp_path / "venv/pyvenv.cfg").touch()
    with pytest.raises(pytest.UsageError, match="no class hf_<type>"):
        find(tmp_path)


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("hf_brt.py", "'hf_brt.py' is neither a path nor an importable package; did you mean 'hf_bert.py'"),
        ("gone/hf_bert.py", "'gone/hf_bert.py' does not exist: there is no directory"),
        ("./hf-brt.py", "did you mean 'hf_bert.py'"),
        ("transformerz", "did you mean 'transformers'"),
        ("json", "no class hf_<type> in .*json"),
    ],
)
def test_a_word_that_leads_nowhere(tmp_path: Path, word: str, says: str) -> None:
    (tmp_path / "hf_bert.py").write_text(skill_class("hf_bert"))
    with pytest.raises(pytest.UsageError, match=says):
        find(tmp_path, word)


VIT = ("image-classification", "image-feature-extraction", "feature-extraction")


@pytest.mark.parametrize(
    ("word", "model", "tasks", "task"),
    [
        ("fill_mask", "bert", ("fill-mask", "feature-extraction"), "fill-mask"),
        ("text_embedding", "bert", ("fill-mask", "feature-extraction"), "feature-extraction"),
        ("image_embedding", "vit", VIT, "image-feature-extraction"),
        ("image_embedding", "clip", ("zero-shot-image-classification", "feature-extraction"), "feature-extraction"),
        ("image_embedding", "videomae", ("feature-extraction", "image-feature-extraction"), "image-feature-extraction"),
        ("feature_extraction", "vit", VIT, "feature-extraction"),
        ("audio_embedding", "clap", ("zero-shot-audio-classification", "feature-extraction"), "feature-extraction"),
        ("video_embedding", "xclip", ("feature-extraction",), "feature-extraction"),
        ("transcription", "whisper", ("automatic-speech-recognition",), "automatic-speech-recognition"),
        ("text_generation", "llama", ("text-generation",), "text-generation"),
        ("llm", "qwen2", ("text-generation",), "text-generation"),
        ("vlm", "llava", ("image-text-to-text",), "image-text-to-text"),
        ("text2text_generation", "t5", ("text2text-generation",), "text2text-generation"),
        ("t5", "t5", ("text2text-generation", "feature-extraction"), "text2text-generation"),
        ("data2vec_text", "data2vec-text", ("fill-mask",), "fill-mask"),
        ("object_detection", "detr", ("object-detection",), "object-detection"),
        ("vlm", "bert", ("fill-mask",), ""),
        ("sentence_similarity", "bert", ("fill-mask", "feature-extraction"), ""),
        ("image_classification", "deit", ("image-classification:DeiTTeacher",), ""),
        (
            "image_classification_DeiTTeacher",
            "deit",
            ("image-classification:DeiTTeacher",),
            "image-classification:DeiTTeacher",
        ),
    ],
)
def test_the_task_that_a_word_means(word: str, model: str, tasks: tuple[str, ...], task: str) -> None:
    assert task_of(word, model, tasks, TASKS) == task
    if task:
        assert word in words_of(model, task, tasks, TASKS)


def test_the_tasks_of_a_class_on_each_hardware(tmp_path: Path) -> None:
    (tmp_path / "hf_vit.py").write_text(
        skill_class(
            "hf_vit",
            "def __init__(self): self.create_openvino_image_embedding_endpoint_handler = None",
            *(
                f"def create_{name}_endpoint_handler(self): ..."
                for name in ("cpu_image_embedding", "cpu_vit", "cuda_llm")
            ),
        )
    )
    skill = find(tmp_path).skills["vit"]

    def tasks(hardware: str, *chosen: str) -> list[str]:
        return tasks_on(hardware, skill, "vit", VIT, set(chosen or VIT), TASKS)

    assert tasks("cpu") == ["image-classification", "image-feature-extraction"]
    assert tasks("cpu", "image-feature-extraction") == ["image-feature-extraction"]
    assert tasks("cpu", "feature-extraction") == []
    assert tasks("openvino") == ["image-feature-extraction"]
    # It offers nothing there: one case, to say so.
    assert tasks("cuda") == ["image-classification"]
    assert tasks("apple", "feature-extraction") == ["feature-extraction"]
