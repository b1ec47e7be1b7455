"""Skill classes that people might write, run as cases: each defect is found and named, and a right class has none."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cases import job

from pytest_ipfs_accelerate.runner import run_case
from pytest_ipfs_accelerate.skillset.findings import FINDINGS, Check
from pytest_ipfs_accelerate.skillset.foreign import loading
from pytest_ipfs_accelerate.specs import Measure, SkillSource
from pytest_ipfs_accelerate.verdict import Implementation, Outcome, Verdict

EXEMPLARS = Path(__file__).parent / "exemplars"

EMBEDDING = ("bert", "feature-extraction", "cpu")
GENERATION = ("qwen2", "text-generation", "cpu")
PICTURE = ("vit", "image-classification", "cpu")

RIGHT = {
    "right_embedding": EMBEDDING,
    "right_embedding_in_a_dict": EMBEDDING,
    "right_with_fallbacks": EMBEDDING,
    "right_on_openvino": ("bert", "feature-extraction", "openvino"),
    "right_text_classification": ("bert", "text-classification", "cpu"),
    "right_generation": GENERATION,
    "right_generation_alone": GENERATION,
    "right_image_classification": PICTURE,
    "right_image_embedding": ("vit", "image-feature-extraction", "cpu"),
    "right_transcription": ("whisper", "automatic-speech-recognition", "cpu"),
    "right_audio_classification": ("wav2vec2", "audio-classification", "cpu"),
    "right_zero_shot": ("clip", "zero-shot-image-classification", "cpu"),
    "right_image_text": ("llava", "image-text-to-text", "cpu"),
    "right_in_its_own_words": ("llava", "image-text-to-text", "cpu"),
    "right_padded": EMBEDDING,
    "right_clip_embeddings": ("clip", "feature-extraction", "cpu"),
    "right_ctc": ("wav2vec2", "automatic-speech-recognition", "cpu"),
    "right_text2text": ("t5", "text2text-generation", "cpu"),
    "right_video": ("xclip", "feature-extraction", "cpu"),
    "right_detection": ("detr", "object-detection", "cpu"),
    "right_fill_mask": ("bert", "fill-mask", "cpu"),
    "right_pipeline": ("bert", "text-classification", "cpu"),
    "right_question": ("bert", "question-answering", "cpu"),
    "right_on_onnxruntime": ("bert", "feature-extraction", "onnxruntime"),
}
"""Exemplar → case."""

TWO_TASKS = "right_of_two_tasks"

FAILED, FAKE = Outcome.FAILED, Outcome.FAKE

WRONG: dict[str, tuple[tuple[str, str, str], Check, str, Outcome]] = {
    "random_on_error": (EMBEDDING, Check.REPEATS, "another answer under another seed", FAILED),
    "real_on_error": (EMBEDDING, Check.REPEATS, "another answer under another seed", FAKE),
    "attribute_on_a_tensor": (EMBEDDING, Check.SWALLOWED, "AttributeError: attribute 'device' of", FAKE),
    "another_checkpoint": (EMBEDDING, Check.ENDPOINT, "parameters are not those of the checkpoint", FAKE),
    "torch_for_openvino": (
        ("bert", "feature-extraction", "openvino"),
        Check.PLACE,
        "it names openvino, and torch ran BertModel on cpu",
        FAKE,
    ),
    "canned_sentence": (GENERATION, Check.SENSITIVITY, "does not look at its input", FAKE),
    "mock_endpoint": (EMBEDDING, Check.ENDPOINT, "the endpoint is a MagicMock of unittest.mock", FAILED),
    "mock_processor": (EMBEDDING, Check.ENDPOINT, "the processor is a MagicMock of unittest.mock", FAILED),
    "three_tuple": (EMBEDDING, Check.INTERFACE, "3", FAILED),
    "swallowed_exception": (EMBEDDING, Check.SWALLOWED, "was raised, caught and not passed on", FAILED),
    "error_called_real": (EMBEDDING, Check.PARITY, "says that it failed", FAKE),
    "samples": (GENERATION, Check.REPEATS, "another answer under another seed", FAILED),
    "ignores_its_input": (EMBEDDING, Check.SENSITIVITY, "does not look at its input", FAILED),
    "missing_checkpoint_real": (EMBEDDING, Check.MISSING_CHECKPOINT, "and says that it is real", FAKE),
    "writes_into_its_package": (EMBEDDING, Check.FILES, "left_behind.txt", FAILED),
    "self_test_cannot_fail": (EMBEDDING, Check.SELF_TEST, "content with a handler that raises", FAILED),
    "wrong_width": (EMBEDDING, Check.WIDTH, "its shape is (1, 768)", FAILED),
    "truncated": (GENERATION, Check.PARITY, "they part after", FAILED),
    "other_words": (GENERATION, Check.PARITY, "they part after", FAILED),
    "constant": (EMBEDDING, Check.PARITY, "constant: 1 everywhere", FAILED),
    "one_percent_off": (EMBEDDING, Check.PARITY, "mean over positions: relative L2 1.00e-02", FAILED),
    "says_mock": (EMBEDDING, Check.CLAIM, "a mock is never a pass", FAILED),
    "says_nothing": (EMBEDDING, Check.PARITY, "gives None", FAILED),
    "does_not_open": (EMBEDDING, Check.ENDPOINT, "RuntimeError: this class is not ready", FAILED),
    "batch_without_mask": (EMBEDDING, Check.BATCH, "in a list of two inputs the first has another answer", FAILED),
    "cached_by_length": (EMBEDDING, Check.PARITY, "nothing that the reference gives", FAILED),
    "wears_off": (EMBEDDING, Check.REPEATS, "after a few calls with others", FAILED),
    "changes_its_checkpoint": (EMBEDDING, Check.FILES, "changed config.json, in the checkpoint", FAILED),
    "torch_beside_openvino": (
        ("bert", "feature-extraction", "openvino"),
        Check.PLACE,
        "stays right when all that openvino puts out is changed",
        FAKE,
    ),
    "always_one_class": (PICTURE, Check.PARITY, "the reference says", FAILED),
}
"""Exemplar → case, the finding that must be there, words of it, and how the case ends."""

NOTED = {
    "self_test_never_looks": (EMBEDDING, Check.SELF_TEST, "fails only where the handler raises"),
    "right_with_fallbacks": (EMBEDDING, Check.SWALLOWED, "OSError: Can't load image processor"),
}
"""Exemplar → case, and a note that a passing verdict has, with words of it."""


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    """A class that is loaded leaves its directory on the import path until the next one is."""
    yield
    loading._restore()


def run(name: str, case: tuple[str, str, str]) -> Verdict:
    model = re.search(r"class (\w+):\n    def __init__", (EXEMPLARS / f"{name}.py").read_text())
    assert model is not None
    source = SkillSource(
        name=model[1], file=str(EXEMPLARS / f"{name}.py"), root=str(EXEMPLARS.parent), module=f"exemplars.{name}"
    )
    return run_case(replace(job(*case), skill=source), lambda stage: None)


def findings(verdict: Verdict, *, notes: bool = False) -> list[dict[str, Any]]:
    found = verdict.evidence[FINDINGS]
    assert json.loads(json.dumps(found)) == found
    return [finding for finding in found if finding["note"] is notes]


@pytest.mark.parametrize("name", RIGHT)
def test_a_right_class_has_no_finding(name: str) -> None:
    verdict = run(name, RIGHT[name])
    assert findings(verdict) == []
    assert verdict.outcome is Outcome.PASSED
    assert verdict.reason == ""
    assert verdict.implementation is Implementation.REAL
    assert verdict.evidence["agrees as"]
    assert verdict.comparisons
    assert verdict.evidence["missing checkpoint"].startswith("raises")


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_class_is_found_and_named(name: str) -> None:
    case, check, words, outcome = WRONG[name]
    verdict = run(name, case)
    (EXEMPLARS / "left_behind.txt").unlink(missing_ok=True)
    named = [finding for finding in findings(verdict) if finding["check"] == check and words in finding["says"]]
    assert named, "\n".join(f"{finding['check']}: {finding['says']}" for finding in findings(verdict))
    assert all(Path(finding["file"]).exists() or check is Check.FILES for finding in named)
    assert verdict.outcome is outcome, verdict.reason
    assert not verdict.ok


@pytest.mark.parametrize("name", NOTED)
def test_a_note_fails_nothing(name: str) -> None:
    case, check, words = NOTED[name]
    verdict = run(name, case)
    assert [note for note in findings(verdict, notes=True) if note["check"] == check and words in note["says"]]
    assert (verdict.outcome, verdict.reason) == (Outcome.PASSED, "")


@pytest.mark.parametrize(
    ("task", "handler"),
    [
        ("fill-mask", "the tuple"),
        ("feature-extraction", "create_cpu_text_embedding_endpoint_handler"),
    ],
)
def test_each_of_two_tasks_has_its_own_handler(task: str, handler: str) -> None:
    verdict = run(TWO_TASKS, ("bert", task, "cpu"))
    assert findings(verdict) == []
    assert verdict.outcome is Outcome.PASSED
    assert verdict.evidence["handler of"] == handler


def test_every_exemplar_is_run() -> None:
    assert {path.stem for path in EXEMPLARS.glob("*.py")} - {"__init__"} == {*RIGHT, *WRONG, *NOTED, TWO_TASKS}


def test_a_class_is_not_timed_and_says_so() -> None:
    source = SkillSource(
        name="hf_bert",
        file=str(EXEMPLARS / "right_embedding.py"),
        root=str(EXEMPLARS.parent),
        module="exemplars.right_embedding",
    )
    verdict = run_case(
        replace(job(*EMBEDDING), skill=source, measure=Measure(batches=(1,), seconds=1.0)), lambda stage: None
    )
    assert verdict.outcome is Outcome.PASSED
    assert verdict.numbers is not None
    assert "not the handlers of skill classes" in verdict.numbers.untimed["all"]
