"""Each rule and translation of ours gives what torch gives, and coremltools cannot do without it; each evaluation of ours is
that of torch. A test that fails because coremltools can do it now says that the rule may go."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers.exporters.metadata import ExportMetadata

pytest.importorskip("coremltools")

from pytest_ipfs_accelerate.hardware import coreml_convert, coreml_ops, mil_evaluations
from pytest_ipfs_accelerate.hardware.base import NotOnHardware
from pytest_ipfs_accelerate.hardware.coreml import MilRunner
from pytest_ipfs_accelerate.hardware.coreml_convert import ConversionFault, Output, convert_program, whole
from pytest_ipfs_accelerate.hardware.export_torch import TorchComponent
from pytest_ipfs_accelerate.hardware.mil import MilProgram
from pytest_ipfs_accelerate.store import Store

aten = torch.ops.aten
Function = Callable[..., Tensor]

torch.manual_seed(0)
X, Y = torch.rand(3, 4) * 9, torch.rand(3, 4)
WHOLE = torch.randint(-9, 9, (3, 4))
PICTURE, POINTS, LINE = torch.rand(2, 4, 6, 6), torch.rand(2, 3, 3, 2) * 2 - 1, torch.rand(2, 4, 9)


class Module(nn.Module):
    def __init__(self, function: Function) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.function(*inputs)


def converted(function: Function | nn.Module, *inputs: Tensor, precision: str = "fp32") -> MilProgram:
    module = function if isinstance(function, nn.Module) else Module(function)
    spec, weights, _ = convert_program(torch.export.export(module.eval(), inputs), precision)
    return MilProgram(spec, weights)


def evaluated(function: Function | nn.Module, *inputs: Tensor, precision: str = "fp32") -> Tensor:
    program = converted(function, *inputs, precision=precision)
    found = program([tensor.numpy() for tensor in inputs if tensor.numel()])
    return torch.from_numpy(found[0])


def right(function: Function | nn.Module, *inputs: Tensor, precision: str = "fp32") -> bool:
    with torch.no_grad():
        expected = function(*inputs).double()
    found = evaluated(function, *inputs, precision=precision).double()
    bound = 1e-6 if precision == "fp32" else 2e-3
    return found.shape == expected.shape and torch.allclose(found, expected, atol=bound, rtol=bound)


def departure(function: Function, *inputs: Tensor) -> float:
    """The relative L2 of what is evaluated."""
    expected = function(*inputs).double()
    return float((evaluated(function, *inputs).double() - expected).norm() / expected.norm())


def translates(function: Function, *inputs: Tensor, precision: str = "fp32") -> bool:
    """Whether it is converted at all, and right."""
    with suppress(ConversionFault, NotOnHardware):
        return right(function, *inputs, precision=precision)
    return False


UNFOLDED = lambda x: x.mT.unfold(0, 3, 2) + x.mT.unfold(-2, 3, 2)  # noqa: E731
RULES: dict[Any, tuple[Function, tuple[Tensor, ...]]] = {
    aten.cummax.default: (lambda x: torch.cummax(x, 1).values + torch.cummax(x, 0).indices, (X,)),
    aten.cummin.default: (lambda x: torch.cummin(x, 1).values + torch.cummin(x, 0).indices, (X,)),
    aten.as_strided.default: (lambda x: torch.as_strided(x, (3, 4), (2, 1), 1), (X,)),
    aten.unfold.default: (UNFOLDED, (torch.rand(3, 7),)),
    aten.col2im.default: (
        lambda x: functional.fold(x, (5, 6), (2, 3), padding=(1, 0), stride=(2, 1)),
        (torch.rand(2, 12, 12),),
    ),
    aten.masked_scatter.default: (lambda x, y: x.masked_scatter(x > 4, y), (X, Y)),
    aten.select_scatter.default: (lambda i: torch.select_scatter(i, i[0] // 2, 0, 1), (WHOLE,)),
    aten.scatter.value: (lambda x, i: torch.zeros(3, 9).scatter_(1, i.abs() % 3, 1) + x[:, :1], (X, WHOLE)),
    aten.scatter.src: (lambda x, i: torch.zeros(3, 4, dtype=torch.bool).scatter(1, i.abs() % 4, x > 4), (X, WHOLE)),
    aten.cumsum.default: (lambda x: x.cumsum(-2), (X,)),
    aten.polar.default: (lambda x: torch.view_as_real(torch.polar(x, x)), (X,)),
    aten.view_as_complex.default: (lambda x: torch.view_as_real(torch.view_as_complex(x.view(3, 2, 2))), (X,)),
    aten.mul.Tensor: (lambda x, y: torch.view_as_real(torch.complex(x, y) * torch.complex(y, x) * y * 2.0), (X, Y)),
    aten.unsqueeze.default: (
        lambda x, y: torch.view_as_real(torch.complex(x, y).unsqueeze(1) * torch.complex(y, x)),
        (X, Y),
    ),
    aten.grid_sampler.default: (
        lambda x, p: functional.grid_sample(x, p, "bicubic", align_corners=False),
        (PICTURE, POINTS),
    ),
    aten.split.Tensor: (lambda x: x.split(9, 1)[0] * 2, (X,)),
    aten.reciprocal.default: (lambda x, i: torch.reciprocal(x) + torch.reciprocal(i.abs() + 1), (X + 1, WHOLE)),
    aten.new_zeros.default: (lambda x: x + x.new_zeros(()), (X,)),
    aten.stack.default: (lambda x, i: torch.stack([x, i]), (X, WHOLE)),
    aten.div.Tensor_mode: (lambda i: torch.div(i * 997, 3, rounding_mode="floor") % 7, (WHOLE,)),
    aten.scatter_reduce.two: (
        lambda x, i: torch.ones(3, 9).scatter_reduce(1, i.abs() % 3, x, "mean", include_self=False),
        (X, WHOLE),
    ),
    aten.gather.default: (
        lambda x: torch.gather(x, 1, torch.tensor([[1, 0]])) * torch.gather(x > 4, 0, torch.tensor([[1, 0]])),
        (X,),
    ),
    aten.einsum.default: (
        lambda x, y: torch.einsum("...si,...id->...sd", x, y.mT) + torch.einsum("...s, d -> d...s", x, x[0, 0])[0],
        (torch.rand(3, 4, 4), torch.rand(2, 3, 4, 4)),
    ),
    aten._is_all_true.default: (lambda x: aten._is_all_true(x > 0), (X,)),
    aten.linear.default: (lambda x, y: functional.linear(x, y[0] * 2), (X, Y)),
    aten.scaled_dot_product_attention.default: (
        lambda x, y: functional.scaled_dot_product_attention(x, y, y[..., :2] + 1, scale=0.3, enable_gqa=True),
        (torch.rand(2, 4, 3, 4), torch.rand(2, 2, 5, 4)),
    ),
    aten.mse_loss.default: (
        lambda x, y: (
            functional.mse_loss(x, y) * functional.mse_loss(x, y, reduction="none")
            + functional.mse_loss(x, y, reduction="sum")
        ),
        (X, Y),
    ),
    aten.where.ScalarSelf: (lambda x: aten.where.ScalarSelf(x > 4, 1, x), (X,)),
    aten.bitwise_or.Tensor: (lambda x: torch.bitwise_or(x > 6, x < 4), (X,)),
    aten.bitwise_xor.Tensor: (lambda x: torch.bitwise_xor(x > 4, x < 6), (X,)),
    aten.__or__.Tensor: (lambda x: (x > 6) | (x < 4), (X,)),
    aten.__xor__.Tensor: (lambda x: (x > 4) ^ (x < 6), (X,)),
}

TRANSLATIONS: dict[str, tuple[Function, tuple[Tensor, ...]]] = {
    "gelu": (lambda x: functional.gelu(x - 4, approximate="tanh"), (X,)),
    "scatter_reduce.two": (
        lambda x, i: torch.ones(3, 9).scatter_reduce(1, i.abs() % 3, x, "amax", include_self=False),
        (X, WHOLE),
    ),
    "prod": (lambda x: x * torch.prod(x - 4), (X,)),
    "prod.dim_int": (
        lambda x, i: (
            x.prod(1, keepdim=True) + i.prod(1) + (i * 9000).prod(-1, dtype=torch.float32) / 1e12 + (x > 4).prod(-1)
        ),
        (X[:3, :3], WHOLE[:3, :3]),
    ),
    "alias": (lambda x: aten.alias(x * 2), (X,)),
}


def test_each_rule_and_translation_has_a_sample() -> None:
    assert set(RULES) == {rule.op for rule in coreml_ops.RULES}
    assert set(TRANSLATIONS) == {ours.kind for ours in coreml_ops.TRANSLATIONS}


@pytest.mark.parametrize("op", RULES, ids=str)
def test_a_rule_gives_what_torch_gives_and_is_needed(op: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    function, inputs = RULES[op]
    precision = "fp16" if op is aten.div.Tensor_mode else "fp32"
    assert right(function, *inputs, precision=precision)
    monkeypatch.setattr(coreml_ops, "RULES", [])
    plain = {op: apart for op, apart in coreml_ops.decompositions().items() if not coreml_ops.translated(op)}
    monkeypatch.setattr("pytest_ipfs_accelerate.hardware.coreml_convert.decompositions", lambda: plain)
    monkeypatch.setattr(coreml_ops, "typed", lambda kind, translate, used, ours=False: translate)
    assert not translates(function, *inputs, precision=precision), f"coremltools translates {op} itself now"


@pytest.mark.parametrize("kind", TRANSLATIONS)
def test_a_translation_gives_what_torch_gives_and_is_needed(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    function, inputs = TRANSLATIONS[kind]
    assert right(function, *inputs)
    monkeypatch.setattr(coreml_ops, "TRANSLATIONS", [])
    monkeypatch.setattr("pytest_ipfs_accelerate.hardware.coreml_convert.decompositions", dict)
    assert not translates(function, *inputs), f"coremltools translates {kind} itself now"


def test_a_translation_gives_the_type_that_torch_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    function, inputs = (lambda x: x.index_select(0, torch.full((2,), 1) - torch.arange(2))), (X,)
    assert right(function, *inputs)
    monkeypatch.setattr(coreml_ops, "typed", lambda kind, translate, used, ours=False: translate)
    with pytest.raises(ConversionFault, match="index"):
        evaluated(function, *inputs)


def test_a_node_has_a_name_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    function = lambda x: torch.div(torch.floor(x), 2.0, rounding_mode="floor")  # noqa: E731
    assert right(function, X)
    monkeypatch.setattr("pytest_ipfs_accelerate.hardware.coreml_convert.rename_nodes", lambda program: None)
    with pytest.raises(ConversionFault, match="the op div"):
        evaluated(function, X)


HIGH: dict[str, Callable[[Tensor], Tensor]] = {
    "broadcast": lambda x: x * x[:, :1, :, :1, :, :1] + x[:1],
    "moved": lambda x: x.permute(0, 5, 2, 3, 1, 4).transpose(1, -2) + 1,
    "moved as few": lambda x: x.permute(3, 4, 5, 0, 1, 2) + 1,
    "reduced": lambda x: x.sum((1, 3)) + x.amax((0, 2, 5)).sum() + x.argmax(3).amax() + x.mean(),
    "extremes": lambda x: x.max(3).values + x.min(-3, keepdim=True).indices.squeeze(3) + x.max(),
    "larger": lambda x: torch.max(x, 1 - x[:1]),
    "taken": lambda x: x.split([1, 3], 3)[1][:, 1:].select(4, 1) + x.unbind(0)[0][1:, :, :3, 0],
    "joined": lambda x: torch.stack([torch.cat([x, x[:, :1]], 1).flip(1, 2).roll(1, 3), x[:, [0, 1, 2, 0]]]),
    "widened": lambda x: x.unsqueeze(4).expand(2, 3, 2, 4, 3, 2, 3).repeat(1, 2, 1, 1, 1, 1, 2),
    "padded": lambda x: functional.pad(x, (1, 1, 0, 2)),
    "multiplied": lambda x: x @ x[:1].transpose(-1, -2) + functional.linear(x, torch.arange(6.0).view(2, 3)),
    "normed": lambda x: functional.layer_norm(x, (3,)).softmax(-2) + x.cumsum(2),
    "looked up": lambda x: x.gather(3, torch.ones(2, 3, 2, 1, 2, 3, dtype=torch.int64)),
    "chosen": lambda x: torch.where(x > 0.5, x, x.new_zeros(x.shape)).masked_fill(x > 0.9, 3),
}


@pytest.mark.parametrize("kind", HIGH)
def test_an_op_on_six_dimensions_is_said_on_fewer(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    flat = torch.rand(6, 48)
    function = lambda x: HIGH[kind](x.view(2, 3, 2, 4, 2, 3)).flatten()  # noqa: E731
    assert right(function, flat)
    monkeypatch.setattr("pytest_ipfs_accelerate.hardware.coreml_convert.lower_ranks", lambda program: 0)
    assert not translates(function, flat), "coremltools takes it itself now"


def test_an_op_on_six_dimensions_without_a_rule_is_named() -> None:
    with pytest.raises(ConversionFault, match="does not take"):
        evaluated(lambda x: x.view(1, 3, 1, 2, 1, 2).sort(1).values.flatten(), X)


NOTHING: dict[str, Function] = {
    "placed": lambda x, nothing: x.slice_scatter(nothing, 1, 1, 0, 3) * 2,
    "joined": lambda x, nothing: torch.cat([nothing, x, x[:, 1:1], x + 1], 1),
    "alone": lambda x, nothing: torch.cat([nothing, x * 2], 1),
}


@pytest.mark.parametrize("kind", NOTHING)
def test_a_tensor_of_no_elements_is_left_out(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    function, inputs = NOTHING[kind], (X, X[:, :0])
    assert right(function, *inputs)
    monkeypatch.setattr("pytest_ipfs_accelerate.hardware.coreml_convert.drop_empty", lambda program: 0)
    assert not translates(function, *inputs), "coremltools takes it itself now"


class Ends(nn.Module):
    def forward(self, x: Tensor, nothing: Tensor) -> tuple[Tensor, ...]:
        return torch.cat([nothing, nothing], 1), x + 1, torch.cat([nothing, x], 1) > 4


def test_an_output_of_no_elements_is_given_beside_the_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So it is with a cache whose keys have no rotary part (mistral_large4)."""
    ends, metadata = Ends(), ExportMetadata(kwargs={"x": {"rank": 2}, "nothing": {"rank": 2}})
    component = TorchComponent(ends, "", metadata, {}, ends)
    arguments = {"x": X, "nothing": X[:, :0].to(torch.int64)}
    for kept in (False, True):
        runner = MilRunner(component, "fp32", "", Store(tmp_path, 1_000_000))
        first, second, third = runner(**arguments)
        assert (first.shape, first.dtype) == ((3, 0), torch.int64)
        assert torch.equal(second, X + 1)
        assert torch.equal(third, X > 4)
        assert [made.kept for made, _ in runner.programs.values()] == [kept]
    monkeypatch.setattr("pytest_ipfs_accelerate.hardware.coreml_convert.drop_empty_ends", lambda program: None)
    with pytest.raises(ValueError, match="shorter"):
        MilRunner(component, "fp32", "", None)(**arguments)


def test_an_attention_that_sees_nothing_gives_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A padded text of falcon, whose first tokens see none but themselves."""
    seen = torch.tensor([[False] * 4, [True, False, True, True], [True] * 4, [False] * 4])
    function = lambda x: functional.scaled_dot_product_attention(x, x, x[..., :2], seen)  # noqa: E731
    assert right(function, X[None, :, None].mT)
    monkeypatch.setattr(coreml_ops, "RULES", [])
    assert not evaluated(function, X[None, :, None].mT).isfinite().all(), "MIL's own op gives numbers now"


def test_what_lies_between_two_transposes_is_what_the_model_computes(monkeypatch: pytest.MonkeyPatch) -> None:
    """By its name ``--ipfs-explain`` holds it against torch."""
    function = lambda x: (x * 2).mT.relu().sigmoid().mT.sin()  # noqa: E731
    square = torch.randn(1, 4, 4)

    def relu() -> Tensor:
        program = converted(function, square)
        program([square.numpy()])
        (value,) = (each for made in program.operations for each in made.outputs if each.name == "torch_relu")
        return torch.from_numpy(value.val)

    expected = (square * 2).mT.relu()
    assert torch.allclose(relu(), expected)
    monkeypatch.setattr(coreml_convert, "_passes", coreml_convert.coremltools.PassPipeline)
    assert not torch.allclose(relu(), expected), "coremltools turns it no more"


def test_a_product_and_a_sum_by_channel_stay_what_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    scale, shift = torch.rand(4, 1, 1), torch.rand(4, 1, 1)
    function = lambda x: x * scale + shift  # noqa: E731
    assert departure(function, PICTURE) < 2e-7
    monkeypatch.setattr(coreml_convert, "_passes", coreml_convert.coremltools.PassPipeline)
    assert departure(function, PICTURE) > 1e-6, "coremltools adds no epsilon any more"


def test_what_only_a_check_reads_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def function(x: Tensor) -> Tensor:
        torch._check(torch.unique_consecutive(x.sum(1)).shape[0] < 100)
        return x * 2

    assert right(function, X)
    monkeypatch.setattr("pytest_ipfs_accelerate.hardware.coreml_convert.drop_checks", lambda program: None)
    assert not translates(function, X), "coremltools takes it itself now"


class Recurrent(nn.Module):
    """Writes its state in place; ``given`` says whether it is an output, too."""

    def __init__(self, *, given: bool) -> None:
        super().__init__()
        self.given = given

    def forward(self, state: Tensor, x: Tensor) -> tuple[Tensor, ...]:
        state.copy_(state * 0.5 + x)
        return (state.sum(1), state) if self.given else (state.sum(1),)


def test_a_state_that_is_written_in_place_is_an_output(monkeypatch: pytest.MonkeyPatch) -> None:
    found = converted(Recurrent(given=True), X.clone(), Y)([X.numpy(), Y.numpy()])
    for array, expected in zip(found, Recurrent(given=True)(X.clone(), Y), strict=True):
        np.testing.assert_allclose(array, expected, rtol=1e-6)
    with pytest.raises(ConversionFault, match="coremltools") as lost:
        converted(Recurrent(given=False), X.clone(), Y)
    assert "does not give back" in str(lost.value.__cause__)
    monkeypatch.setattr("pytest_ipfs_accelerate.hardware.coreml_convert.drop_mutations", lambda program: None)
    with pytest.raises(ConversionFault) as refused:  # no longer: then this can go
        converted(Recurrent(given=True), X.clone(), Y)
    assert "user input mutation" in str(refused.value.__cause__)


@pytest.mark.parametrize("function", [torch.randn_like, torch.rand_like])
def test_random_numbers_are_those_of_the_seed(function: Function) -> None:
    program = converted(function, X)
    with torch.random.fork_rng():
        torch.manual_seed(7)
        expected = function(X)
        torch.manual_seed(7)
        np.testing.assert_allclose(program([X.numpy()])[0], expected, rtol=1e-6)


def test_an_op_that_nothing_takes_is_named() -> None:
    with pytest.raises(ConversionFault, match=r"coremltools .* does not take the op unique_consecutive"):
        evaluated(lambda x: torch.unique_consecutive(x.reshape(-1)), X)
    with pytest.raises(ConversionFault, match="does not take the program"):
        evaluated(lambda i: torch.bitwise_or(i, i + 1), WHOLE)


EVALUATED: dict[str, tuple[Function | nn.Module, tuple[Tensor, ...]]] = {
    "conv": (nn.Conv2d(4, 6, 3, stride=2, padding=(1, 0), dilation=(1, 2), groups=2), (PICTURE,)),
    "conv_transpose": (nn.ConvTranspose2d(4, 6, 3, stride=2, padding=1), (PICTURE,)),
    "crop": (nn.ConvTranspose2d(4, 6, 3, stride=2, padding=1, output_padding=1), (PICTURE,)),
    "max_pool": (nn.MaxPool2d(3, 2, 1, ceil_mode=True), (PICTURE,)),
    "avg_pool": (nn.AvgPool2d(3, 2, 1, count_include_pad=False), (PICTURE,)),
    "batch_norm": (nn.Sequential(nn.ReLU(), nn.BatchNorm2d(4)).eval(), (PICTURE,)),
    "instance_norm": (nn.InstanceNorm1d(4, affine=True), (LINE,)),
    "gather_nd": (lambda x, i: x[i.abs() % 3, i.abs() % 4], (X, WHOLE)),
    "select": (lambda x: torch.where(x > 4, x, -x), (X,)),
    "silu": (functional.silu, (X,)),
    "scatter_nd": (lambda x, i: x.index_put((i[0] % 3, i[1] % 4), x[0], accumulate=True), (X, WHOLE)),
    "scatter_along_axis": (lambda x, i: x.scatter_add(1, i.abs() % 2, x), (X, WHOLE)),
    "one_hot": (lambda i: functional.one_hot(i.abs() % 5, 5), (WHOLE,)),
    "pixel_shuffle": (lambda x: functional.pixel_shuffle(x, 2), (PICTURE,)),
    "pixel_unshuffle": (lambda x: functional.pixel_unshuffle(x, 3), (PICTURE,)),
    "upsample_bilinear": (lambda x: functional.interpolate(x, scale_factor=2.0, mode="bilinear"), (PICTURE,)),
    "upsample_nearest_neighbor": (lambda x: functional.interpolate(x, scale_factor=2.0), (PICTURE,)),
    "resample": (lambda x, p: functional.grid_sample(x, p, align_corners=False), (PICTURE, POINTS)),
    "concat": (lambda x, y: torch.stack((x.sin(), y.cos()), dim=2).flatten(1), (X, Y)),
}


@pytest.mark.parametrize("kind", EVALUATED)
def test_an_evaluation_is_that_of_torch(kind: str) -> None:
    function, inputs = EVALUATED[kind]
    with torch.no_grad():
        expected = function(*inputs).detach()
    program = converted(function, *inputs)
    found = program([tensor.numpy() for tensor in inputs])[0]
    assert program.by_ours[kind] == 1, program.by_ours
    np.testing.assert_allclose(found, expected, atol=1e-5, rtol=1e-5)


def test_an_op_without_an_evaluation_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(mil_evaluations.EVALUATIONS, "conv")  # type: ignore[attr-defined]
    with pytest.raises(NotOnHardware, match=r"no value for conv .*and we have none"):
        evaluated(nn.Conv1d(4, 2, 3), LINE)


def test_an_interleaved_concat_has_no_right_inference_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "pytest_ipfs_accelerate.hardware.mil.evaluation_of",
        lambda operation: mil_evaluations.EVALUATIONS.get(operation.op_type),
    )
    function, inputs = EVALUATED["concat"]
    assert not right(function, *inputs), "coremltools infers an interleaved concat itself now"


def test_the_precision_is_read_from_the_program() -> None:
    linear = nn.Linear(4, 2)
    assert converted(linear, X).precisions == {"fp32": 1}
    assert converted(linear, X, precision="fp16").precisions == {"fp16": 1}


def test_a_program_gives_as_many_tensors_as_its_trace() -> None:
    outputs, array = [Output("float32", None), Output("int64", [0, 2])], np.ones(2, np.float32)
    assert [tuple(tensor.shape) for tensor in whole(outputs, [array])] == [(2,), (0, 2)]
    for given in ([], [array, array]):
        with pytest.raises(ValueError, match=f"gives {len(given)} tensors, its trace 1"):
            whole(outputs, given)
