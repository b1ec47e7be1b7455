"""What a class lacks of the interface is named by file and line."""

from __future__ import annotations

import asyncio
import queue
from pathlib import Path
from typing import Any

import numpy
import pytest

from pytest_ipfs_accelerate.skillset.findings import Check, Finding
from pytest_ipfs_accelerate.skillset.foreign.interface import check_class, check_handler, check_tuple, factory_of
from pytest_ipfs_accelerate.skillset.foreign.loading import load
from pytest_ipfs_accelerate.specs import SkillSource

EXEMPLARS = Path(__file__).parent / "exemplars"
WORDS = ("feature-extraction", "text_embedding")


def source(file: Path, name: str, *unplaced: str) -> SkillSource:
    return SkillSource(name=name, file=str(file), root=str(file.parent), module=file.stem, line=4, unplaced=unplaced)


def failing(findings: list[Finding]) -> dict[int, str]:
    return {finding.line: finding.says for finding in findings if not finding.note}


@pytest.mark.parametrize("loaded", [True, False], ids=["loaded", "from its file"])
def test_every_mismatch(loaded: bool) -> None:
    where = source(EXEMPLARS / "static/interface.py", "hf_bert")
    cls = load(where).cls if loaded else None
    found = {
        hardware: failing(check_class(cls, where, hardware, WORDS)) for hardware in ("cpu", "cuda", "openvino", "apple")
    }
    constructor = "__init__(name) does not take resources and metadata: too many positional arguments"
    assert found["cpu"] == {
        5: constructor,
        10: "init_cpu returns 3 values here, not the five of (endpoint, processor, handler, queue, batch size)",
        19: "create_cpu_text_embedding_endpoint_handler needs 'temperature', which no convention of the interface has",
    }
    assert found["cuda"][13] == "init_cuda takes no checkpoint: its parameters are none"
    assert found["openvino"][16] == "init_openvino needs 'secret', which no convention of the interface has"
    missing = [finding.says for finding in check_class(cls, where, "apple", WORDS)]
    assert missing[0].startswith("hf_bert has no init_apple; did you mean")
    assert missing[1] == (
        "hf_bert has no create_apple_feature_extraction_endpoint_handler (nor with text_embedding for its task)"
    )
    assert missing[2] == "hf_bert has no __test__, so nothing of it tests itself"


OFFERED = [
    ("common", "hf_bert", "cpu", "text_embedding"),
    ("common", "hf_bert", "cuda", "text_embedding"),
    ("common", "hf_bert", "openvino", "text_embedding"),
    ("by_name", "hf_vit", "cpu", "image_classification"),
    ("by_name", "hf_vit", "cuda", "image_classification"),
    ("by_name", "hf_vit", "openvino", "image_classification"),
    ("inherited", "hf_llama", "cpu", "llm"),
    ("inherited", "hf_llama", "openvino", "llm"),
    ("positional", "hf_clip", "cpu", "clip"),
    ("positional", "hf_clip", "cuda", "image_embedding"),
    ("positional", "hf_clip", "apple", "clip"),
]


@pytest.mark.parametrize("loaded", [True, False], ids=["loaded", "from its file"])
@pytest.mark.parametrize(("file", "name", "hardware", "word"), OFFERED)
def test_no_false_alarm(file: str, name: str, hardware: str, word: str, loaded: bool) -> None:
    where = source(EXEMPLARS / f"conventions/{file}.py", name)
    found = load(where)
    assert not [finding for finding in found.findings if not finding.note]
    assert check_class(found.cls if loaded else None, where, hardware, [word]) == []
    assert factory_of(found.cls, hardware, ["nothing", word]) == f"create_{hardware}_{word}_endpoint_handler"


def test_a_method_that_the_instance_gets_counts() -> None:
    where = source(EXEMPLARS / "conventions/common.py", "hf_bert")
    says = failing(check_class(load(where).cls, where, "qualcomm", ["text_embedding"])).values()
    assert list(says) == ["hf_bert has no create_qualcomm_text_embedding_endpoint_handler"]


def test_a_factory_that_no_case_runs_is_a_note() -> None:
    where = source(EXEMPLARS / "conventions/inherited.py", "hf_llama", "create_cpu_llm_endpoint_handler")
    (note,) = [f for f in check_class(load(where).cls, where, "cpu", ["llm"]) if f.note]
    assert "has no task that 'llm' is a word for" in note.says


def tuple_of(*values: Any) -> list[str]:
    where = source(EXEMPLARS / "conventions/common.py", "hf_bert")
    found = check_tuple(values[0] if len(values) == 1 else values, where, "init_cpu")
    assert {finding.check for finding in found} <= {Check.INTERFACE}
    assert {finding.line for finding in found} <= {34}
    return [finding.says.removeprefix("init_cpu ") for finding in found]


def test_a_five_tuple() -> None:
    for line in (asyncio.Queue(4), queue.Queue()):
        assert tuple_of(None, None, print, line, 0) == []
    assert tuple_of([None, None, print, queue.Queue(), numpy.int64(2)]) == []


async def later() -> None: ...


def test_no_five_tuple() -> None:
    five = "(endpoint, processor, handler, queue, batch size)"
    assert tuple_of(None) == [f"returns None, not {five}"]
    assert tuple_of(None, None, print) == [f"returns 3 values, not the five of {five}"]
    assert tuple_of(None, None, None, None, None) == [
        "returns a handler that is not callable: None",
        "returns no queue in the fourth place, but None",
        "returns a batch size that is no whole number: None",
    ]
    assert tuple_of(None, None, print, [], True) == [
        "returns no queue in the fourth place, but a value of type list",
        "returns a batch size that is no whole number: a value of type bool",
    ]
    coroutine = later()
    assert tuple_of(coroutine) == ["is a coroutine: a worker does not wait for it"]
    coroutine.close()


def test_a_factory_that_gives_no_handler() -> None:
    where = source(EXEMPLARS / "conventions/common.py", "hf_bert")
    name = "create_cpu_text_embedding_endpoint_handler"
    assert check_handler(print, where, name) == []
    (finding,) = check_handler(None, where, name)
    assert (finding.line, finding.says) == (76, f"{name} returns a handler that is not callable: None")
