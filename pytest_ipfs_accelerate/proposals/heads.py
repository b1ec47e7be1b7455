"""The heads of the installed transformers: which class of which model type is for which task."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import transformers
import transformers.models.auto.modeling_auto as auto
from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES  # type: ignore[attr-defined]

_SUFFIX = "_MAPPING_NAMES"

TASK_OF_HEAD = {
    "MODEL": "feature-extraction",
    "MODEL_FOR_CAUSAL_LM": "text-generation",
    "MODEL_FOR_MASKED_LM": "fill-mask",
    "MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM": "text2text-generation",
    "MODEL_FOR_SEQUENCE_CLASSIFICATION": "text-classification",
    "MODEL_FOR_IMAGE": "image-feature-extraction",
    "MODEL_FOR_SEMANTIC_SEGMENTATION": "image-segmentation",
    "MODEL_FOR_INSTANCE_SEGMENTATION": "image-segmentation",
    "MODEL_FOR_UNIVERSAL_SEGMENTATION": "image-segmentation",
    "MODEL_FOR_MULTIMODAL_LM": "any-to-any",
    "MODEL_FOR_CTC": "automatic-speech-recognition",
    "MODEL_FOR_SPEECH_SEQ_2_SEQ": "automatic-speech-recognition",
    "MODEL_FOR_TDT": "automatic-speech-recognition",
    "MODEL_FOR_RNNT": "automatic-speech-recognition",
    "MODEL_FOR_TEXT_TO_SPECTROGRAM": "text-to-audio",
    "MODEL_FOR_TEXT_TO_WAVEFORM": "text-to-audio",
}
"""Auto mappings whose task is not simply their own name: those that a pipeline of transformers names otherwise, and those that
answer the same question."""

PRIMARY_FIRST = ("fill-mask", "automatic-speech-recognition", "image-text-to-text")
"""Tasks that are primary wherever a model type has them, in this order."""

PRIMARY_LAST = ("pretraining", "feature-extraction", "text-encoding", "image-feature-extraction", "backbone")
"""Tasks that are primary only when a model type has no other, in this order."""


class Head(NamedTuple):
    """One class of a model type for one task. ``variant`` is the class again where a mapping names several for the same
    task: the key of such a task is ``task:Class``."""

    model: str
    task: str
    model_class: str
    variant: str = ""

    @property
    def key(self) -> str:
        """The name of the task in the registry."""
        return f"{self.task}:{self.variant}" if self.variant else self.task


def task_of(head: str) -> str:
    """The task of an auto mapping: ``MODEL_FOR_DEPTH_ESTIMATION`` is ``depth-estimation``."""
    return TASK_OF_HEAD.get(head) or head.removeprefix("MODEL_FOR_").lower().replace("_", "-")


def _mappings() -> Iterator[tuple[str, dict[str, str | tuple[str, ...]]]]:
    for name in sorted(vars(auto)):
        if name.startswith("MODEL") and name.endswith(_SUFFIX):
            yield name.removesuffix(_SUFFIX), getattr(auto, name)


@cache
def heads() -> dict[str, tuple[Head, ...]]:
    """Every head of the installed transformers by model type, the primary task first; model types in alphabetical order."""
    found: dict[str, dict[tuple[str, str], Head]] = {}
    for mapping, classes in _mappings():
        for model, names in classes.items():
            first, *others = [names] if isinstance(names, str) else names
            of_model = found.setdefault(model, {})
            of_model.setdefault((task_of(mapping), first), Head(model, task_of(mapping), first))
            for other in others:
                of_model.setdefault((task_of(mapping), other), Head(model, task_of(mapping), other, other))
    return {model: tuple(_ordered(found[model].values())) for model in sorted(found) if model in CONFIG_MAPPING_NAMES}


def _ordered(found: Iterable[Head]) -> list[Head]:
    ranks = {task: rank for rank, task in enumerate(PRIMARY_LAST, start=1)}
    ranks |= {task: rank for rank, task in enumerate(PRIMARY_FIRST, start=-len(PRIMARY_FIRST))}
    return sorted(found, key=lambda head: (bool(head.variant), ranks.get(head.task, 0)))


_CATEGORY_OF_TASK = (
    ("multimodal", ("image-text", "any-to-any", "visual-question", "document-question", "zero-shot", "retrieval")),
    ("audio", ("audio", "speech")),
    ("specialized", ("time-series", "decision", "table")),
    (
        "vision",
        (
            "image",
            "video",
            "object",
            "depth",
            "mask-generation",
            "keypoint",
            "pose",
            "normal",
            "backbone",
            "recognition",
        ),
    ),
    ("language", ("text", "token", "fill-mask", "question", "sentence", "choice")),
)


def category_of_tasks(tasks: Iterable[str]) -> str:
    """The category of a model type, as far as the names of its tasks tell."""
    names = " ".join(tasks)
    return next(
        (category for category, words in _CATEGORY_OF_TASK if any(word in names for word in words)), "specialized"
    )


_CHECKPOINT = re.compile(r"@auto_docstring\((?:[^()]*?\b)?checkpoint=\"([^\"]+)\"")


@cache
def hub_checkpoint(model: str) -> str:
    """The checkpoint on the Hub that transformers' own documentation of a config names; empty where it names none."""
    config = getattr(transformers, CONFIG_MAPPING_NAMES[model])
    source = Path(inspect.getfile(config)).read_text("utf-8")
    before, _, _ = source.partition(f"class {config.__name__}(")
    found = _CHECKPOINT.findall(before)
    if found and before.rstrip().rfind("@auto_docstring") > before.rfind("\nclass "):
        return str(found[-1])
    found = _CHECKPOINT.findall(source)
    return str(found[0]) if found else ""


if __name__ == "__main__":
    rows = {
        model: {
            "category": category_of_tasks(head.task for head in found),
            "tasks": {head.key: {"class": head.model_class} for head in found},
        }
        for model, found in heads().items()
    }
    print(json.dumps(rows))
