"""Every calling convention of the old modules is met by the names of its parameters."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from cases import recipe

from pytest_ipfs_accelerate.models.checkpoint import build_checkpoint
from pytest_ipfs_accelerate.skillset.findings import Check
from pytest_ipfs_accelerate.skillset.foreign.binding import NotCallable, call_factory, call_init
from pytest_ipfs_accelerate.skillset.foreign.helpers import NoHelper, get_openvino_model, openvino_cli_convert

HELPERS = ("get_optimum_openvino_model", "get_openvino_model", "get_openvino_pipeline_type", "openvino_cli_convert")
OTHERS = dict.fromkeys(HELPERS)


class Skill:
    """An instance that takes its methods from a test; each returns its locals."""


def init(function: Callable[..., Any], hardware: str = "cpu", device: str = "cpu", task: str = "fill-mask") -> Any:
    skill = Skill()
    setattr(skill, f"init_{hardware}", function)
    return call_init(skill, hardware, checkpoint="/path", task=task, device=device)


def three(model, device, cpu_label):  # type: ignore[no-untyped-def]
    return locals()


def named(model_name, device, cpu_label):  # type: ignore[no-untyped-def]
    return locals()


def device_label(model_name, model_type, device_label="cuda:7", **kwargs):  # type: ignore[no-untyped-def]
    return locals()


def endpoint_first(endpoint_model, hardware_label, device=None, *, task):  # type: ignore[no-untyped-def]
    return locals()


def positional(model, device, /, cpu_label="x"):  # type: ignore[no-untyped-def]
    return locals()


def optional_first(width=3, /, model="x", verbose=False):  # type: ignore[no-untyped-def]
    return locals()


def everything(*args):  # type: ignore[no-untyped-def]
    return locals()


def keywords(**kwargs):  # type: ignore[no-untyped-def]
    return locals()


@pytest.mark.parametrize(
    ("function", "given"),
    [
        (three, {"model": "/path", "device": "cpu", "cpu_label": "cpu:0"}),
        (named, {"model_name": "/path", "device": "cpu", "cpu_label": "cpu:0"}),
        (device_label, {"model_name": "/path", "model_type": "fill-mask", "device_label": "cpu", "kwargs": {}}),
        (endpoint_first, {"endpoint_model": "/path", "hardware_label": "cpu:0", "device": "cpu", "task": "fill-mask"}),
        (positional, {"model": "/path", "device": "cpu", "cpu_label": "cpu:0"}),
        (optional_first, {"width": 3, "model": "/path", "verbose": False}),
        (everything, {"args": ("/path", "cpu", "cpu:0")}),
        (keywords, {"kwargs": {"model": "/path", "device": "cpu", "cpu_label": "cpu:0"}}),
    ],
)
def test_an_init(function: Callable[..., Any], given: dict[str, Any]) -> None:
    assert init(function) == given


def openvino(  # type: ignore[no-untyped-def]
    model,
    model_type,
    device,
    openvino_label,
    get_optimum_openvino_model,
    get_openvino_model,
    get_openvino_pipeline_type,
    openvino_cli_convert,
):
    return locals()


def openvino_optional(  # type: ignore[no-untyped-def]
    model, model_type=None, device=None, openvino_label=None, get_optimum_openvino_model=None, get_openvino_model=None
):
    return {"names": [name for name, value in locals().items() if value is not None]}


def openvino_kwargs(model_name, model_type, device_label="openvino:0", **kwargs):  # type: ignore[no-untyped-def]
    return locals()


def test_an_init_of_openvino() -> None:
    further = "image-classification:OtherHead"
    given = init(openvino, "openvino", "CPU", further)
    assert {name: given[name] for name in ("model", "model_type", "device", "openvino_label")} == {
        "model": "/path",
        "model_type": "image-classification",
        "device": "CPU",
        "openvino_label": "openvino:0",
    }
    assert given["get_openvino_pipeline_type"]("/path", "bert") == "image-classification"
    with pytest.raises(NotImplementedError, match="get_openvino_pipeline_type"):
        given["get_openvino_pipeline_type"]("/another", "bert")
    for name in HELPERS:
        assert callable(given[name])
    assert init(openvino_kwargs, "openvino", "CPU", further)["device_label"] == "CPU"


def init_strange(model, device, *, flavour):  # type: ignore[no-untyped-def]
    raise AssertionError("it must not be called")


def init_empty():  # type: ignore[no-untyped-def]
    raise AssertionError("it must not be called")


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (init_strange, "init_cpu needs 'flavour', which no convention of the interface has"),
        (init_empty, "init_cpu takes no checkpoint: its parameters are none"),
        (None, "Skill has no init_cpu"),
        (3, "init_cpu of Skill is not callable"),
    ],
)
def test_no_convention_fits(function: Any, says: str) -> None:
    with pytest.raises(NotCallable) as raised:
        init(function)
    finding = raised.value.finding
    assert (finding.check, finding.says) == (Check.INTERFACE, says)
    if callable(function):
        assert (finding.file, finding.line) == (__file__, function.__code__.co_firstlineno)


def test_what_the_class_raises_is_its_own() -> None:
    def broken(model, device, cpu_label):  # type: ignore[no-untyped-def]
        raise TypeError("missing a required argument")

    with pytest.raises(TypeError, match="missing a required argument"):
        init(broken)


def factory(function: Callable[..., Any], name: str = "create_cpu_llm_endpoint_handler") -> Any:
    skill = Skill()
    setattr(skill, name, function)
    return call_factory(
        skill, name, checkpoint="/path", device="cpu", label="cpu:0", endpoint="loaded", processor="tokens"
    )


@pytest.mark.parametrize(
    ("function", "given"),
    [
        (lambda endpoint_model, device, label, endpoint, tokenizer: locals(), ("/path", "cpu", "cpu:0", "loaded", "tokens")),
        (lambda tokenizer, endpoint_model, cpu_label, endpoint=None: locals(), ("tokens", "/path", "cpu:0", "loaded")),
        (lambda endpoint, processor, model_name, device_label: locals(), ("loaded", "tokens", "/path", "cpu")),
        (lambda endpoint, processor, model, cuda_label, is_real=True: locals(), ("loaded", "tokens", "/path", "cpu:0", True)),
        (lambda model, image_processor, label: locals(), ("loaded", "tokens", "cpu:0")),
        (lambda endpoint_model, cuda_label, endpoint=None, tokenizer=None: locals(), ("/path", "cpu:0", "loaded", "tokens")),
        (lambda endpoint, tokenizer, task: locals(), ("loaded", "tokens", "llm")),
        (lambda *args: locals(), (("/path", "cpu", "cpu:0", "loaded", "tokens"),)),
    ],
)  # fmt: skip
def test_a_factory(function: Callable[..., Any], given: tuple[Any, ...]) -> None:
    assert tuple(factory(function).values()) == given


def test_no_convention_of_factories_fits() -> None:
    with pytest.raises(NotCallable, match="create_cpu_llm_endpoint_handler needs 'temperature'"):
        factory(lambda endpoint, temperature: None)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("bert")
    tiny = build_checkpoint(recipe("bert", "feature-extraction"))
    tiny.model.save_pretrained(directory)
    tiny.processor.save_pretrained(directory)
    return directory


def test_the_helpers_of_openvino_are_real(checkpoint: Path) -> None:
    """A class that needs all four computes with what get_openvino_model gave it."""
    exemplar = Path(__file__).parent / "exemplars/conventions/common.py"
    skill = runpy.run_path(str(exemplar))["hf_bert"]()
    found = call_init(skill, "openvino", checkpoint=str(checkpoint), task="feature-extraction", device="CPU")
    endpoint, tokenizer, handler, _, _ = found
    model = build_checkpoint(recipe("bert", "feature-extraction")).model
    tokens = tokenizer(["the dog", "two birds sit on the fence"], return_tensors="pt", padding=True)
    with torch.no_grad():
        hidden = model(**tokens).last_hidden_state
    mask = tokens["attention_mask"][..., None]
    expected = (hidden * mask).sum(1) / mask.sum(1)
    answer = handler(["the dog", "two birds sit on the fence"])
    assert numpy.abs(answer - expected.numpy()).max() < 1e-4
    assert type(endpoint).__module__.startswith("openvino")


def test_a_conversion_is_written(checkpoint: Path, tmp_path: Path) -> None:
    file = Path(
        openvino_cli_convert(str(checkpoint), str(tmp_path / "ir"), task="feature-extraction", weight_format="fp16")
    )
    assert file.stat().st_size > 0
    assert file.with_suffix(".bin").stat().st_size > 0


def test_what_no_helper_can_do(checkpoint: Path, tmp_path: Path) -> None:
    given = init(openvino, "openvino", "CPU", "fill-mask")
    with pytest.raises(NoHelper, match="get_optimum_openvino_model is one of optimum-intel"):
        given["get_optimum_openvino_model"]("/path", "fill-mask", "openvino:0")
    with pytest.raises(NoHelper, match="not 'int4'"):
        openvino_cli_convert(str(checkpoint), str(tmp_path), weight_format="int4")
    with pytest.raises(OSError, match="nowhere"):
        get_openvino_model(str(tmp_path / "nowhere"))
    (tmp_path / "config.json").write_text('{"model_type": "t5", "architectures": ["T5ForConditionalGeneration"]}')
    with pytest.raises(NoHelper, match="T5ForConditionalGeneration"):
        get_openvino_model(str(tmp_path))
    assert "get_optimum_openvino_model" not in init(openvino_optional, "openvino", "CPU")["names"]
