"""The parts of the check of a skill class, each shown what it must find and what it must leave alone."""

from __future__ import annotations

import copy
import threading
import warnings
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import pytest
import torch
from cases import job, recipe, task_on
from torch import nn

from pytest_ipfs_accelerate.handlers import Handler
from pytest_ipfs_accelerate.hardware.torch_device import Cpu
from pytest_ipfs_accelerate.matrix import Case
from pytest_ipfs_accelerate.models.samples import picture, sound
from pytest_ipfs_accelerate.parity import TOLERANCES
from pytest_ipfs_accelerate.runner import run_case
from pytest_ipfs_accelerate.skillset.findings import Check, Finding
from pytest_ipfs_accelerate.skillset.foreign import loading
from pytest_ipfs_accelerate.skillset.foreign.agreement import hold, same_answer, text_agrees
from pytest_ipfs_accelerate.skillset.foreign.answers import Kind, read
from pytest_ipfs_accelerate.skillset.foreign.binding import NotCallable
from pytest_ipfs_accelerate.skillset.foreign.claims import Claim, Says, claims_of, without_prefix
from pytest_ipfs_accelerate.skillset.foreign.endpoints import (
    check_endpoint,
    check_no_mock,
    check_place,
    check_precision,
    other_weights,
)
from pytest_ipfs_accelerate.skillset.foreign.expected import Expected
from pytest_ipfs_accelerate.skillset.foreign.files import check_files, package_of, snapshot
from pytest_ipfs_accelerate.skillset.foreign.judging import Found, judge
from pytest_ipfs_accelerate.skillset.foreign.naturals import as_sixteen_bits, calls_of, write_sound
from pytest_ipfs_accelerate.skillset.foreign.ran import Ran, seeing
from pytest_ipfs_accelerate.skillset.foreign.swallowed import watching
from pytest_ipfs_accelerate.specs import SkillSource
from pytest_ipfs_accelerate.verdict import Implementation, Outcome, Stage

FP32 = TOLERANCES["cpu", "fp32"]
SOURCE = SkillSource(name="hf_bert", file="skills/hf_bert.py", root="skills", module="hf_bert", line=3)


def expected(model: str, name: str, sample: int = 0) -> Expected:
    task = task_on(recipe(model, name), name)
    handler = Handler(Case(model, name, "cpu"), task, Cpu().lower(task.checkpoint, None))
    return Expected(handler, as_sixteen_bits(task.samples()[sample]))


# What a class says of itself


def _tensor(**attributes: Any) -> torch.Tensor:
    tensor = torch.zeros(2)
    for name, value in attributes.items():
        setattr(tensor, name, value)
    return tensor


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ({"implementation_type": "REAL"}, {Says.REAL}),
        ({"implementation_type": "MOCK"}, {Says.MOCK}),
        ({"implementation_type": "MOCK (real one not there)"}, {Says.MOCK}),
        ({"cuda_status": "(REAL) CUDA"}, {Says.REAL}),
        ({"status": "success"}, set()),
        ({"error": "no such file", "implementation_type": "REAL"}, {Says.ERROR, Says.REAL}),
        ({"error": None}, set()),
        ("(REAL) the fox", {Says.REAL}),
        ("(MOCK) the fox", {Says.MOCK}),
        ("[ERROR] no such file", {Says.ERROR}),
        ("(the real fox) jumps", {Says.REAL}),
        ("the real fox (MOCK)", set()),
        ({"realistic": True, "surreal_status": "fine"}, set()),
        ([{"text": "(MOCK) the fox"}], {Says.MOCK}),
        (_tensor(real_implementation=True), {Says.REAL}),
        (_tensor(real_implementation=False), {Says.MOCK}),
        (_tensor(is_mock=True), {Says.MOCK}),
        (SimpleNamespace(implementation_type="REAL"), {Says.REAL}),
        (MagicMock(), set()),
        (None, set()),
    ],
)
def test_claims(value: Any, says: set[Says]) -> None:
    assert {claim.says for claim in claims_of(value)} == says


def test_a_label_before_a_text_is_no_part_of_it() -> None:
    assert without_prefix("(REAL) the fox") == "the fox"
    assert without_prefix("(laughs) the fox") == "(laughs) the fox"


# What came back


@pytest.mark.parametrize(
    ("value", "parts"),
    [
        (torch.zeros(1, 4), [("", Kind.NUMBERS)]),
        (np.zeros((1, 4)), [("", Kind.NUMBERS)]),
        ([[0.1, 0.2]], [("", Kind.NUMBERS)]),
        ([torch.zeros(3), torch.zeros(3)], [("", Kind.NUMBERS)]),
        ("(REAL) the fox", [("", Kind.TEXT)]),
        (["a", "b"], [("[0]", Kind.TEXT), ("[1]", Kind.TEXT)]),
        ({"text": "a", "status": "REAL", "elapsed": 0.1, "device": "cpu"}, [(".text", Kind.TEXT)]),
        ({"label": "a", "score": 0.5}, [(".label", Kind.LABEL), (".score", Kind.SCORE)]),
        ({"class": 3, "confidence": torch.tensor(0.5)}, [(".class", Kind.INDEX), (".confidence", Kind.SCORE)]),
        ({"embedding": torch.zeros(4), "error": None}, [(".embedding", Kind.NUMBERS)]),
        ({"result": {"logits": [1.0, 2.0]}}, [(".result.logits", Kind.NUMBERS)]),
        ({"similarity": 0.5}, [(".similarity", Kind.NUMBERS)]),
        (SimpleNamespace(generated_text="a"), [(".generated_text", Kind.TEXT)]),
        ({"device": "cpu"}, []),
        (MagicMock(), []),
        (None, []),
    ],
)
def test_an_answer_is_read(value: Any, parts: list[tuple[str, Kind]]) -> None:
    assert [(part.path, part.kind) for part in read(value).parts] == parts


def test_an_answer_of_our_own_is_read() -> None:
    right = expected("bert", "feature-extraction")
    result = right.handler(right.natural)
    held = hold(read(result), right, FP32, "")
    assert held
    assert all(one.ok for one in held)
    other = expected("bert", "feature-extraction", 1)
    assert not all(one.ok for one in hold(read(result), other, FP32, ""))


def test_two_answers_are_the_same() -> None:
    one = {"text": "a", "score": 0.5, "embedding": torch.ones(4)}
    assert same_answer(read(one), read({**one, "embedding": torch.ones(4) + 1e-7}), 1e-5)
    for change in ({"text": "b"}, {"score": 0.6}, {"embedding": torch.ones(3)}, {"embedding": 1.1 * torch.ones(4)}):
        assert not same_answer(read(one), read({**one, **change}), 1e-5)
    assert not same_answer(read(one), read({"text": "a"}), 1e-5)


# Whether it is right


def test_a_text_is_right_up_to_a_token() -> None:
    right = expected("qwen2", "text-generation")
    way = right.ways[0]
    tokenizer, tokens = right.task.processor, way.row["tokens"].tolist()
    whole, some = tokenizer.decode(tokens), tokenizer.decode(tokens[:3])
    for text in (whole, some, f"{right.natural}{some}", f"  {some}"):
        assert text_agrees(text, right)[0], text
    longer = tokenizer.decode(right.longer(way, 14))
    assert len(longer) > len(whole)
    assert text_agrees(longer, right) == (True, "the first 14 tokens of the reference")
    for text in ("", right.natural, some[:1], f"{some}!", f"{longer}!", f"another prompt {some}", "hello"):
        assert not text_agrees(text, right)[0], text


@pytest.mark.parametrize(
    ("change", "ok"),
    [
        ({}, True),
        ({"score": "rounded"}, True),
        ({"label": "positive"}, False),
        ({"label": "nothing"}, False),
        ({"score": 0.1}, False),
    ],
)
def test_a_label_and_its_score(change: dict[str, Any], ok: bool) -> None:
    right = expected("bert", "text-classification")
    scored = right.scored[0]
    best = int(scored.logits.argmax())
    score = float(scored.logits.softmax(-1)[best])
    assert scored.names[best] == "negative"
    answer = {"label": scored.names[best], "score": score, **change}
    if answer["score"] == "rounded":
        answer["score"] = round(score, 4)
    assert all(one.ok for one in hold(read({"prediction": answer}), right, FP32, "")) is ok


def test_a_ranking_in_the_wrong_order() -> None:
    right = expected("bert", "fill-mask")
    scored = right.scored[0]
    order = scored.logits.argsort(descending=True).tolist()[:3]
    names = [scored.names[index] for index in order]
    assert all(one.ok for one in hold(read({"labels": names}), right, FP32, ""))
    assert [one.ok for one in hold(read({"labels": names[::-1]}), right, FP32, "")] == [False, True, False]


def test_the_text_of_the_input_is_no_answer() -> None:
    right = expected("bert", "feature-extraction")
    hidden = right.ways[0].row["last_hidden_state"].mean(0)
    assert [one.ok for one in hold(read([{"text": right.natural, "embedding": hidden}]), right, FP32, "")] == [True]
    for text, embedding in (("another", hidden), (right.natural, hidden + 1)):
        assert not all(one.ok for one in hold(read({"text": text, "embedding": embedding}), right, FP32, ""))
    assert not all(one.ok for one in hold(read({"text": right.natural}), right, FP32, ""))


def test_numbers_that_are_not_there_are_wide_or_not() -> None:
    right = expected("bert", "feature-extraction")
    hidden = right.ways[0].row["last_hidden_state"]
    good = hold(read(hidden.mean(0)), right, FP32, "")[0]
    assert (good.ok, good.what) == (True, "last_hidden_state, mean over positions")
    wide = hold(read(torch.zeros(1, 768)), right, FP32, "")[0]
    assert (wide.ok, wide.width) == (False, True)
    off = hold(read(hidden.mean(0) + 0.01), right, FP32, "")[0]
    assert (off.ok, off.width) == (False, False)
    assert "nearest is last_hidden_state, mean over positions" in off.what
    nan = hold(read(hidden.mean(0) * torch.nan), right, FP32, "")[0]
    assert not nan.ok


# How it is called


def _plain(x: Any, y: Any = None, endpoint: Any = object(), cuda_label: str = "cuda:0") -> None: ...  # noqa: B008


def _named(image: Any, prompt: Any) -> None: ...


def _listed(texts: Any) -> None: ...


def _path(audio_path: Any) -> None: ...


def _too_many(text: Any, one: Any, two: Any, three: Any) -> None: ...


def _calls(handler: Any, natural: Any, directory: Path) -> list[Any]:
    return calls_of(handler, natural, directory, "hf.py", 1)


def test_a_handler_is_called_by_its_signature(tmp_path: Path) -> None:
    both = {"text": "a text", "images": picture(0)}
    found = _calls(_plain, both, tmp_path)
    assert [call.how for call in found[:2]] == ["a text, a picture", "a picture, a text"]
    assert found[0].arguments == ("a text", both["images"])
    named = _calls(_named, both, tmp_path)[0]
    assert named.keywords == {"image": both["images"], "prompt": "a text"}
    assert _calls(_listed, "a text", tmp_path)[0].arguments == (["a text"],)
    assert _calls(lambda *inputs: None, "a text", tmp_path)[0].arguments == ("a text",)
    with pytest.raises(NotCallable) as refused:
        _calls(_too_many, "a text", tmp_path)
    assert refused.value.finding.check is Check.INTERFACE


def test_a_sound_in_a_file_is_the_sound(tmp_path: Path) -> None:
    import wave

    natural = as_sixteen_bits({"raw": sound(0), "sampling_rate": 16_000})
    call = _calls(_path, natural, tmp_path)[0]
    path = call.keywords["audio_path"]
    with wave.open(path) as file:
        frames = np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.float32) / 32768
        assert file.getframerate() == 16_000
    assert np.array_equal(frames, natural["raw"])
    write_sound(tmp_path / "loud.wav", np.array([2.0, -2.0]), 8_000)


# What it caught and did not say


def _skill(tmp_path: Path, code: str) -> dict[str, Any]:
    path = tmp_path / "hf_x.py"
    path.write_text(code)
    names: dict[str, Any] = {}
    exec(compile(code, str(path), "exec"), names)
    return names


def test_what_is_swallowed_and_what_is_not(tmp_path: Path) -> None:
    code = """
import contextlib, json

def swallows():
    try:
        json.loads("{")
    except ValueError:
        return 1

def chains():
    try:
        int("x")
    except ValueError as error:
        raise RuntimeError("no number") from error

def harmless():
    next(iter([]), None)
    [one for one in iter([1, 2])]
    getattr(json, "nothing", None)
    return json.JSONDecoder().decode("1")

def again():
    for _ in range(3):
        with contextlib.suppress(KeyError):
            {}["x"]
"""
    names = _skill(tmp_path, code)
    with watching(tmp_path) as watch:
        names["swallows"]()
    (seen,) = watch.swallowed()
    assert (type(seen.error).__name__, Path(seen.file).name, seen.line) == ("JSONDecodeError", "hf_x.py", 6)
    with watching(tmp_path) as watch:
        names["harmless"]()
    assert watch.swallowed() == []
    with watching(tmp_path) as watch, pytest.raises(RuntimeError) as raised:
        names["chains"]()
    assert watch.swallowed(raised.value) == []
    assert len(watch.swallowed()) == 2
    with watching(tmp_path) as watch:
        names["again"]()
    assert len(watch.swallowed()) == 1
    with watching(tmp_path) as watch:
        thread = threading.Thread(target=names["swallows"])
        thread.start()
        thread.join()
    assert len(watch.swallowed()) == 1
    with watching(tmp_path / "elsewhere") as watch:
        names["swallows"]()
    assert watch.swallowed() == []


# What it is


def test_a_mock_is_found_wherever_it_hides() -> None:
    mock = MagicMock()
    model = nn.Linear(2, 2)

    def closes_over(text: str) -> Any:
        return mock(text)

    class Holds:
        def __init__(self) -> None:
            self.parts = {"tokenizer": [MagicMock()]}

        def __call__(self, text: str) -> Any:
            return text

    for thing in (mock, closes_over, partial(closes_over, 1), Holds(), Holds().__call__, {"a": (mock,)}):
        found = check_no_mock({"the handler": thing}, "hf.py", 1)
        assert [finding.check for finding in found] == [Check.ENDPOINT], thing

    def right(text: str) -> Any:
        return model(text)

    assert check_no_mock({"the handler": right, "the endpoint": model}, "hf.py", 1) == []


def test_the_weights_are_those_of_the_checkpoint() -> None:
    import transformers

    model = task_on(recipe("bert", "fill-mask"), "fill-mask").checkpoint.model
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    assert other_weights(model, weights) == []
    assert other_weights(model.bert, weights) == []
    assert other_weights(copy.deepcopy(model).half(), weights) == []
    headed = transformers.BertForSequenceClassification(model.config)
    headed.bert.load_state_dict(model.bert.state_dict(), strict=False)
    assert other_weights(headed, weights) == []  # its pooler and its head are new
    (says,) = other_weights(transformers.BertModel(model.config), weights)
    assert says.startswith("37 of 37 parameters are not those of the checkpoint")
    with torch.no_grad():
        headed.bert.embeddings.word_embeddings.weight[7, 3] += 1
    assert other_weights(headed, weights) == [
        "1 of 37 parameters are not those of the checkpoint, bert.embeddings.word_embeddings.weight first"
    ]


def test_what_ran_is_seen() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    with seeing() as ran:
        nn.ReLU()(torch.ones(1))
    assert not ran
    with seeing() as ran:
        model(torch.ones(1, 2))
        model[0](torch.ones(1, 2))
    assert [type(module).__name__ for module in ran.modules] == ["Sequential", "Linear"]
    assert (ran.module_devices, ran.precisions) == (["cpu"], ["fp32"])
    assert check_endpoint(model, ran, {}, "hf.py", 1) == []
    assert [finding.says for finding in check_endpoint(None, Ran(), {}, "hf.py", 1)] == [
        "the endpoint is None and holds no parameters and no compiled model",
        "nothing computed while it answered: no torch module, no OpenVINO, no ONNX Runtime",
    ]


def test_what_runs_after_a_forward_that_raised_is_seen() -> None:
    first, second = nn.Linear(2, 2), nn.Linear(3, 3)
    with warnings.catch_warnings(), seeing() as ran:
        warnings.simplefilter("error")
        with pytest.raises(RuntimeError, match="shapes"):
            first(torch.ones(1, 3))
        second(torch.ones(1, 3))
    assert ran.modules == [first, second]


def test_a_model_inside_a_module_of_the_users_is_looked_at() -> None:
    model = task_on(recipe("bert", "fill-mask"), "fill-mask").checkpoint.model
    wrapper = nn.ModuleDict({"inside": copy.deepcopy(model)})
    ran = Ran()
    ran.modules = [wrapper]
    assert check_endpoint(wrapper, ran, model.state_dict(), "hf.py", 1) == []
    with torch.no_grad():
        next(wrapper.parameters()).add_(1)
    assert check_endpoint(wrapper, ran, model.state_dict(), "hf.py", 1)


def test_a_precision_that_was_asked_for() -> None:
    assert not check_place("cpu", _ran(nn.Linear(1, 1)), "hf.py", 1, "fp32")
    (finding,) = check_place("cpu", _ran(nn.Linear(1, 1)), "hf.py", 1, "bf16")
    assert finding.says == "bf16 was asked for; it computed in fp32"


def test_a_lower_precision_that_nobody_asked_for_is_a_note() -> None:
    model, weights = nn.Linear(1, 1), nn.Linear(1, 1).state_dict()
    assert check_precision(_ran(model), weights, "hf.py", 1) == []
    (finding,) = check_precision(_ran(model.half()), weights, "hf.py", 1)
    assert finding.note
    assert finding.says.startswith("its parameters are fp16 and the checkpoint's fp32")
    assert check_precision(_ran(model), model.state_dict(), "hf.py", 1) == []


def _ran(model: nn.Module | None = None, providers: list[str] | None = None, devices: list[str] | None = None) -> Ran:
    ran = Ran()
    ran.modules = [model] if model is not None else []
    ran.sessions = [SimpleNamespace(get_providers=lambda: providers)] if providers else []
    ran.compiled = [SimpleNamespace(get_property=lambda name: devices)] if devices else []
    return ran


CPU_PROVIDER, QNN = "CPUExecutionProvider", "QNNExecutionProvider"


@pytest.mark.parametrize(
    ("hardware", "ran", "ok"),
    [
        ("cpu", _ran(nn.Linear(1, 1)), True),
        ("cpu", _ran(devices=["CPU"]), True),
        ("cpu", _ran(devices=["GPU.0"]), False),
        ("cpu", _ran(nn.Linear(1, 1, device="meta")), False),
        ("cuda", _ran(nn.Linear(1, 1)), False),
        ("cuda", _ran(providers=[CPU_PROVIDER]), False),
        ("cuda", _ran(providers=["CUDAExecutionProvider", CPU_PROVIDER]), True),
        ("openvino", _ran(devices=["CPU"]), True),
        ("openvino", _ran(nn.Linear(1, 1)), False),
        ("onnxruntime", _ran(providers=[CPU_PROVIDER]), True),
        ("onnxruntime", _ran(devices=["CPU"]), False),
        ("qualcomm", _ran(providers=[CPU_PROVIDER]), False),
        ("qualcomm", _ran(providers=[QNN, CPU_PROVIDER]), True),
        ("apple", _ran(nn.Linear(1, 1)), False),
        ("abacus", _ran(nn.Linear(1, 1)), False),
    ],
)
def test_it_ran_where_it_says(hardware: str, ran: Ran, ok: bool) -> None:
    found = check_place(hardware, ran, "hf.py", 1)
    assert [finding.check for finding in found] == ([] if ok else [Check.PLACE])


def test_a_model_that_runs_in_torch_beside_a_runtime_is_found() -> None:
    model = task_on(recipe("bert", "fill-mask"), "fill-mask").checkpoint.model
    assert check_place("openvino", _ran(model, devices=["CPU"]), "hf.py", 1)
    assert not check_place("openvino", _ran(nn.Linear(1, 1), devices=["CPU"]), "hf.py", 1)
    assert check_place("openvino", _ran(model.bert.encoder, devices=["CPU"]), "hf.py", 1)
    # One whose parameters are NaN drives the runtime and computes nothing.
    drives = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in drives.parameters():
            parameter.fill_(torch.nan)
    assert not check_place("openvino", _ran(drives, devices=["CPU"]), "hf.py", 1)
    assert other_weights(drives, model.state_dict()) == []
    with torch.no_grad():
        next(drives.parameters()).fill_(1)
    assert check_place("openvino", _ran(drives, devices=["CPU"]), "hf.py", 1)
    assert other_weights(drives, model.state_dict())


def test_files_are_watched(tmp_path: Path) -> None:
    package = tmp_path / "skills"
    for name in ("hf_bert.py", "data/words.txt", "__pycache__/hf_bert.pyc", ".git/index"):
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text("1")
    before = snapshot(package)
    assert sorted(Path(path).name for path in before) == ["hf_bert.py", "words.txt"]
    assert check_files(before, snapshot(package)) == []
    (package / "__pycache__/hf_bert.pyc").write_text("12")
    assert check_files(before, snapshot(package)) == []
    (package / "hf_bert.py").write_text("12")
    (package / "data/words.txt").unlink()
    (package / "cache.bin").write_text("1")
    assert [finding.says.split()[1] for finding in check_files(before, snapshot(package))] == [
        "wrote",
        "changed",
        "removed",
    ]
    source = SkillSource(name="hf_bert", file=str(package / "hf_bert.py"), root=str(tmp_path), module="skills.hf_bert")
    assert package_of(source) == package


# What it comes to

PARITY = Finding(check=Check.PARITY, says="off", file="hf.py", line=4)
SHORT = Finding(check=Check.INTERFACE, says="three values")
CAUGHT = Finding(check=Check.SWALLOWED, says="caught", note=True)
GONE = Finding(check=Check.MISSING_CHECKPOINT, says="answers")
REAL, MOCK = Claim(Says.REAL, "a label"), Claim(Says.MOCK, "a label")


@pytest.mark.parametrize(
    ("findings", "claims", "of_missing", "outcome", "first", "implementation"),
    [
        ([], [], [], Outcome.PASSED, None, Implementation.REAL),
        ([], [REAL], [REAL], Outcome.PASSED, None, Implementation.REAL),
        ([CAUGHT], [], [], Outcome.PASSED, None, Implementation.REAL),
        ([CAUGHT, SHORT], [REAL], [], Outcome.FAILED, Check.INTERFACE, Implementation.REAL),
        ([SHORT, CAUGHT, PARITY], [], [], Outcome.FAILED, Check.SWALLOWED, None),
        ([CAUGHT, PARITY], [REAL], [], Outcome.FAKE, Check.SWALLOWED, None),
        ([PARITY], [MOCK], [], Outcome.FAILED, Check.PARITY, Implementation.MOCK),
        ([PARITY], [MOCK, REAL], [], Outcome.FAILED, Check.PARITY, Implementation.MOCK),
        ([], [MOCK], [], Outcome.FAILED, Check.CLAIM, Implementation.MOCK),
        ([GONE], [], [], Outcome.FAILED, Check.MISSING_CHECKPOINT, Implementation.REAL),
        ([GONE], [], [REAL], Outcome.FAKE, Check.MISSING_CHECKPOINT, Implementation.REAL),
    ],
)
def test_judgement(
    findings: list[Finding],
    claims: list[Claim],
    of_missing: list[Claim],
    outcome: Outcome,
    first: Check | None,
    implementation: Implementation | None,
) -> None:
    staged = [(Stage.RUN, finding) for finding in findings]
    found = Found(
        findings=staged,
        caught=[one for one in findings if one is CAUGHT],
        claims=claims,
        of_missing=of_missing,
        answered=True,
    )
    judgement = judge(found, SOURCE)
    assert judgement.outcome is outcome
    assert judgement.implementation is implementation
    failing = [finding.check for finding in judgement.findings if not finding.note]
    assert failing[:1] == ([first] if first else [])
    assert (Check.CLAIM in failing) is (outcome is Outcome.FAKE or MOCK in claims)
    assert bool(judgement.reason) is (outcome is not Outcome.PASSED)


def test_what_never_answered_is_not_called_real() -> None:
    assert judge(Found(findings=[(Stage.BUILD, SHORT)]), SOURCE).implementation is None


def test_a_case_without_a_processor_is_unavailable(tmp_path: Path) -> None:
    from dataclasses import replace

    (tmp_path / "hf_qwen2.py").write_text("class hf_qwen2:\n    pass\n")
    source = SkillSource(name="hf_qwen2", file=str(tmp_path / "hf_qwen2.py"), root=str(tmp_path), module="hf_qwen2")
    verdict = run_case(replace(job("qwen2", "decision", "cpu"), skill=source), lambda stage: None)
    loading._restore()
    assert verdict.outcome is Outcome.UNAVAILABLE
    assert "transformers has no processor for this model type" in verdict.reason
