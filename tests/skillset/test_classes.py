"""The classes made in memory: their interface for every model type, and what one does when it is called."""

from __future__ import annotations

import asyncio
import importlib.util
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from cases import REGISTRY, job
from torch import Tensor

from pytest_ipfs_accelerate.builtin import HARDWARE, TASKS
from pytest_ipfs_accelerate.hardware.base import NotOnHardware
from pytest_ipfs_accelerate.matrix import Case
from pytest_ipfs_accelerate.models.hub import CheckpointRefused
from pytest_ipfs_accelerate.opening import shared_bench
from pytest_ipfs_accelerate.results import HandlerResult
from pytest_ipfs_accelerate.skillset import Opened, Skill, skill_class
from pytest_ipfs_accelerate.skillset.classes import skill_of
from pytest_ipfs_accelerate.skillset.names import class_name, parse_factory, task_words
from pytest_ipfs_accelerate.specs import Availability, HardwareSpec
from pytest_ipfs_accelerate.verdict import CaseFailed, Outcome, Stage

ROOT = Path(__file__).parents[2]
ALIASES = {alias: spec.name for spec in TASKS.values() for alias in spec.aliases}


@pytest.fixture(scope="module")
def bert() -> Skill:
    skill = skill_class("bert")()
    skill.init()
    return skill


def test_every_model_type_has_the_interface() -> None:
    for model in REGISTRY:
        made = skill_class(model)
        assert made.__name__ == class_name(model)
        assert made.__name__.isidentifier()
        words = {word for task in REGISTRY.tasks(model) for word in task_words(task, ALIASES)}
        assert words >= {task.replace("-", "_") for task in REGISTRY.tasks(model) if ":" not in task}
        assert {parse_factory(name) for name in vars(made) if name.startswith("create_")} == {
            (hardware, word) for hardware in HARDWARE for word in words
        }
        assert {name for name in vars(made) if name.startswith("init_")} == {f"init_{name}" for name in HARDWARE}


def test_the_classes_of_all_model_types_need_no_torch() -> None:
    code = (
        "import sys; from pytest_ipfs_accelerate.skillset import skill_class;"
        "from pytest_ipfs_accelerate.registry import load_registry;"
        "made = [skill_class(model) for model in load_registry()];"
        "print(len(made), sorted({'torch', 'transformers', 'numpy'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split(maxsplit=1) == [str(len(list(REGISTRY))), "[]\n"]


def test_a_wrong_model_type_is_told_the_nearest() -> None:
    with pytest.raises(LookupError, match="no model type 'bort' in the registry; did you mean"):
        skill_class("bort")


@pytest.mark.parametrize(
    ("hardware", "words", "named"),
    [
        ("cpu", (), {}),
        ("cpu", ("", "cpu", "cpu:0"), {}),
        ("cpu", ("tiny", "fill-mask"), {"device_label": "cpu"}),
        ("cpu", (), {"model_name": "bert", "device": "cpu", "cpu_label": "cpu"}),
        ("cpu", ("bert", "fill_mask", "cpu"), {}),
        ("openvino", ("", "fill-mask", "CPU", "openvino:0", *[lambda *words: None] * 4), {}),
        ("openvino", (), {"model": "", "model_type": "fill-mask", "openvino_label": "openvino:0"}),
    ],
)
def test_every_convention_of_init_gives_the_five(
    bert: Skill, hardware: str, words: tuple[Any, ...], named: dict[str, Any]
) -> None:
    opened = getattr(bert, f"init_{hardware}")(*words, **named)
    _, processor, handler, queue, batch_size = opened
    assert isinstance(opened, Opened)
    assert (type(processor).__name__, batch_size) == ("BertTokenizer", 0)
    assert isinstance(queue, asyncio.Queue)
    result = handler("the quick brown [MASK] jumps")
    assert (result.hardware, result.task) == (hardware, "fill-mask")
    assert len(result.decoded[0]) == 5


@pytest.mark.parametrize(
    ("method", "words", "named", "error", "message"),
    [
        ("init_cpu", (), {"modell": ""}, TypeError, "takes no argument 'modell'; did you mean 'model'"),
        ("init_cpu", ("",), {"model_name": ""}, TypeError, "more than one model"),
        ("init_cpu", ("", "fil-mask"), {}, ValueError, "did you mean 'fill-mask'"),
        ("init_cpu", ("",), {"device": "cuda:0"}, ValueError, "asked for 'cuda:0', which is no device of it"),
        ("init_openvino", ("", "fill-mask", "cuda"), {}, ValueError, "which is no.* device"),
        ("init_cpu", (torch.nn.Linear(1, 1),), {}, TypeError, "a directory or a Hub id, not Linear"),
        ("init_cpu", ("./no/such/checkpoint",), {}, FileNotFoundError, "no directory ./no/such/checkpoint"),
        ("create_cpu_fill_mask_endpoint_handler", ("", "cpu", "cpu:0"), {}, TypeError, "needs one endpoint"),
    ],
)
def test_a_call_that_cannot_be_meant_raises(
    bert: Skill, method: str, words: tuple[Any, ...], named: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        getattr(bert, method)(*words, **named)


def test_hardware_that_is_not_here_raises_with_its_reason() -> None:
    absent = HardwareSpec(
        name="absent",
        target="nowhere:Nothing",
        probe=lambda: Availability(available=False, reason="no such device on this machine"),
    )
    with pytest.raises(NotOnHardware, match="absent: no such device on this machine"):
        skill_class("bert", hardware={"absent": absent})().init_absent()  # type: ignore[attr-defined]


def test_a_factory_takes_its_arguments_in_any_order_and_under_its_older_words(bert: Skill) -> None:
    endpoint, processor, _, _, _ = bert.init_cpu(task="feature-extraction")  # type: ignore[attr-defined]
    width = endpoint.model.config.hidden_size
    for word in ("feature_extraction", "text_embedding"):
        create = getattr(bert, f"create_cpu_{word}_endpoint_handler")
        for handler in (
            create("bert", "cpu", "cpu:0", endpoint, processor),
            create("bert", processor, endpoint, "cpu:0"),
            create(endpoint=endpoint, tokenizer=processor, endpoint_model="bert"),
        ):
            assert torch.as_tensor(handler("two birds")).shape[-1] == width
    with pytest.raises(ValueError, match="got an endpoint of feature-extraction on cpu"):
        bert.create_cpu_fill_mask_endpoint_handler(endpoint)  # type: ignore[attr-defined]


def test_a_checkpoint_in_a_directory_is_what_runs(bert: Skill, tmp_path: Path) -> None:
    tiny = shared_bench().checkpoint(REGISTRY.recipe("bert", "fill-mask"))
    with torch.no_grad():
        tiny.model.save_pretrained(tmp_path)
        tiny.processor.save_pretrained(tmp_path)
    own, saved = bert.init_cpu(), bert.init_cpu(tmp_path)  # type: ignore[attr-defined]
    text = "the quick brown [MASK] jumps"
    assert torch.equal(torch.as_tensor(own.handler(text)), torch.as_tensor(saved.handler(text)))
    assert saved.handler.task.checkpoint.recipe.checkpoint.place == str(tmp_path.resolve())


def test_a_directory_without_weights_raises(bert: Skill, tmp_path: Path) -> None:
    with pytest.raises(CheckpointRefused, match=r"has no config\.json"):
        bert.init_cpu(tmp_path)  # type: ignore[attr-defined]


def test_self_test_runs_the_case_for_real(bert: Skill) -> None:
    opened = bert.init_onnxruntime(task="fill-mask")  # type: ignore[attr-defined]
    verdict = bert.__test__("", opened.handler, "onnxruntime:0", opened.processor)
    assert (verdict.outcome, verdict.hardware, verdict.stage) == (Outcome.PASSED, "onnxruntime", Stage.BATCH)
    assert verdict.comparisons
    assert bert.__test__().hardware == "cpu"


def test_self_test_of_a_handler_whose_endpoint_is_broken_raises(bert: Skill, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = bert.init_cpu(task="fill-mask")  # type: ignore[attr-defined]
    forward = opened.endpoint.forward

    def scaled(inputs: Any) -> dict[str, Tensor]:
        return {name: tensor * 1.01 for name, tensor in forward(inputs).items()}

    monkeypatch.setattr(opened.endpoint, "forward", scaled)
    with pytest.raises(CaseFailed, match="departs from the reference") as failed:
        bert.__test__("", opened.handler)
    assert failed.value.verdict.stage is Stage.PARITY


def test_self_test_refuses_a_handler_of_somebody_else(bert: Skill) -> None:
    with pytest.raises(TypeError, match="is no handler of this hf_bert"):
        bert.__test__("", lambda text: text)  # type: ignore[arg-type]
    other = skill_class("bert")().init_cpu()  # type: ignore[attr-defined]
    with pytest.raises(TypeError, match="is no handler of this hf_bert"):
        bert.__test__("", other.handler)


def test_a_worker_that_expects_the_older_classes_is_served() -> None:
    spec = importlib.util.spec_from_file_location("worker", ROOT / "docs" / "worker.py")
    assert spec is not None
    assert spec.loader is not None
    worker = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(worker)

    async def served() -> tuple[list[HandlerResult], Exception | None]:
        ours = worker.Worker(skill_class("bert")(), "cpu", "fill-mask")
        serving = asyncio.create_task(ours.serve())
        texts = ["the quick brown [MASK] jumps", "paris is the [MASK] of france"]
        answers = await asyncio.gather(*(ours.ask(text) for text in texts))
        failed = (await asyncio.gather(ours.ask(1, 2), return_exceptions=True))[0]
        serving.cancel()
        return answers, failed

    answers, failed = asyncio.run(served())
    assert [answer["sequence"].split()[0] for answer in answers] == ["the", "paris"]
    assert isinstance(failed, TypeError)


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        ({"precision": "fp99"}, "'fp99' is no precision"),
        ({"threads": "many"}, "threads is 'many'"),
        ({"threads": 0}, "threads is 0"),
    ],
)
def test_metadata_that_cannot_be(metadata: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        skill_class("bert")(metadata=metadata).init_cpu()  # type: ignore[attr-defined]


def test_a_precision_of_a_hardware_of_ones_own() -> None:
    skill = skill_of(replace(job("bert", "fill-mask", "cpu"), precision="int4"))
    assert skill._job(Case("bert", "fill-mask", "cpu"), "", "").precision == "int4"


def test_what_a_class_is_not_made_of() -> None:
    with pytest.raises(TypeError, match="tasks maps each name to its spec, and is a list"):
        skill_class("bert", tasks=["fill-mask"])  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="a model type is a name"):
        skill_class(None)  # type: ignore[arg-type]
