"""Whether two computations of the same thing agree: metrics, and the tolerance of each hardware and precision."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .verdict import Comparison, Implementation


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """The largest difference that is rounding and not a fault.

    An output passes when its ``relative_l2``, ``‖x − reference‖ / ‖reference‖``, is at most that bound, or when no element is
    farther off than ``max_abs``, which is far below anything that the tiny checkpoints put out (their outputs are of order
    one) and keeps a single number close to zero from failing on its last bit. ``source`` says where the bound comes from.
    ``ties`` says that scores within the bound of each other tie, so that either may be chosen: in a reduced precision that
    happens on every checkpoint, and with fp32 on none.
    """

    relative_l2: float
    max_abs: float
    source: str
    ties: bool = False


_FP32 = Tolerance(
    relative_l2=1e-5,
    max_abs=1e-6,
    source="99.9th percentile of 2,300 outputs a hardware on 70 random model types: onnxruntime 1.1e-5, openvino 6.6e-6; "
    "a fault of 1 % is 1e-2",
)

TOLERANCES: Mapping[tuple[str, str], Tolerance] = {
    ("cpu", "fp32"): _FP32,
    ("onnxruntime", "fp32"): _FP32,
    ("openvino", "fp32"): _FP32,
    ("cuda", "fp32"): Tolerance(
        relative_l2=1e-4, max_abs=1e-6, source="TF32 off; other summation order; to be calibrated on a GPU"
    ),
    ("apple", "fp32"): Tolerance(
        relative_l2=1e-4, max_abs=1e-6, source="MPS fp32; other summation order; to be calibrated on a Mac"
    ),
    ("inductor", "fp32"): Tolerance(
        relative_l2=1e-5,
        max_abs=1e-6,
        source="inductor on 4 model types, 22 cases: at most 1.8e-6; the bound of the other fp32",
    ),
    ("executorch", "fp32"): Tolerance(
        relative_l2=1e-5,
        max_abs=1e-6,
        source="20 cases of 4 model types: at most 1.4e-6; the bound of the other fp32",
    ),
    ("rocm", "fp32"): Tolerance(relative_l2=1e-4, max_abs=1e-6, source="as cuda; to be calibrated on a GPU"),
    ("wasm", "fp32"): Tolerance(
        relative_l2=1e-5,
        max_abs=1e-6,
        source="largest of 22 cases of 4 model types in Chromium 156: 1.4e-6; the bound of the other fp32",
    ),
    ("webgpu", "fp32"): Tolerance(
        relative_l2=1e-3,
        max_abs=1e-6,
        source="WGSL lets cos and sin err by 2^-11: 22 cases of 4 model types on SwiftShader, at most 3.8e-4 (llava's rotary "
        "positions), without them 1.2e-6; to be calibrated on a GPU",
    ),
    ("apple converted", "fp32"): Tolerance(
        relative_l2=1e-5,
        max_abs=1e-6,
        source="99.9th percentile of 4,089 outputs on 140 model types in MIL's numpy: 1.8e-5; the bound of the other fp32",
    ),
    ("apple converted", "fp16"): Tolerance(
        relative_l2=1.5e-2,
        max_abs=1e-3,
        source="MIL's numpy, which sums in fp16: five model types, 6e-4 to 1.4e-2 (t5); provisional",
        ties=True,
    ),
    ("qualcomm", "fp16"): Tolerance(
        relative_l2=1e-2, max_abs=1e-3, source="HTP simulator on eleven tiny models: 4e-4 to 6e-3", ties=True
    ),
    ("openvino", "int8"): Tolerance(
        relative_l2=1.5e-1,
        max_abs=1e-2,
        source="against ONNX Runtime on the same QDQ graph; as a8w8 on the HTP, provisional",
        ties=True,
    ),
    ("qualcomm", "a16w8"): Tolerance(
        relative_l2=4e-2,
        max_abs=1e-3,
        source="against ONNX Runtime on the same QDQ graph, eleven tiny models; provisional",
        ties=True,
    ),
    ("qualcomm", "a8w8"): Tolerance(
        relative_l2=1.5e-1,
        max_abs=1e-2,
        source="against ONNX Runtime on the same QDQ graph, eleven tiny models; provisional",
        ties=True,
    ),
}

BY_PRECISION: Mapping[str, Tolerance] = {
    "fp32": _FP32,
    "fp16": Tolerance(
        relative_l2=5e-3, max_abs=1e-3, source="10 bits of mantissa: 2^-11 a rounding, some tens of them", ties=True
    ),
    "bf16": Tolerance(
        relative_l2=5e-2, max_abs=1e-2, source="7 bits of mantissa: 2^-8 a rounding, some tens of them", ties=True
    ),
}
"""For a hardware that is not in the table, such as a user's own."""


def tolerance_of(hardware: str, precision: str, implementation: Implementation | None = None) -> Tolerance:
    """The tolerance of a hardware in a precision; of an implementation of it, where that has one of its own.

    Raises:
        KeyError: neither the hardware nor the precision is known.
    """
    own = TOLERANCES.get((f"{hardware} {implementation}", precision))
    return own or TOLERANCES.get((hardware, precision)) or BY_PRECISION[precision]


NO_NUMBER = -1e30
"""At most this much, a number of the reference says that something is masked: a model puts the lowest number of fp32 in the
place of a word that it must not say (chameleon), and that is all that a norm sees of its logits."""

END_OF_FP16 = (-65504.0, -5.9e4)
"""From here to here, a number of the hardware says the same: fp16 has no lower ones."""


def masked_in_both(reference: Any, other: Any) -> Any:
    """Where two tensors or arrays both say that something is masked."""
    lowest, end = END_OF_FP16
    return (reference <= NO_NUMBER) & ((other <= NO_NUMBER) | ((other >= lowest) & (other <= end)))


def unmasked(reference: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """Both as one axis in double precision, with 0 where both say that something is masked."""
    reference, other = reference.double().flatten(), other.double().flatten()
    masked = masked_in_both(reference, other)
    return reference.masked_fill(masked, 0.0), other.masked_fill(masked, 0.0)


def relative_l2(reference: Tensor, other: Tensor) -> float:
    """``‖other − reference‖ / ‖reference‖`` in double precision, of what is not masked; infinite when only the reference is
    zero."""
    reference, other = unmasked(reference, other)
    distance, norm = float((other - reference).norm()), float(reference.norm())
    if distance == 0:
        return 0.0
    return distance / norm if norm else float("inf")


def compare(name: str, reference: Tensor, other: Tensor, tolerance: Tolerance, against: str) -> Comparison:
    """One tensor held against its reference: integers must be equal, floats within ``tolerance``."""
    if reference.shape != other.shape:
        note = f"shape {tuple(other.shape)}, expected {tuple(reference.shape)}"
        return Comparison(against=against, output=name, ok=False, note=note)
    if reference.is_floating_point() != other.is_floating_point():
        return Comparison(against=against, output=name, ok=False, note=f"{other.dtype}, expected {reference.dtype}")
    if not reference.is_floating_point():
        wrong = int((reference != other).sum())
        note = f"{wrong} of {reference.numel()} differ" if wrong else f"all {reference.numel()} equal"
        return Comparison(against=against, output=name, ok=not wrong, note=note)
    error = relative_l2(reference, other)
    reference, other = unmasked(reference, other)
    farthest = float((reference - other).abs().max()) if reference.numel() else 0.0
    norms = float(reference.norm() * other.norm())
    return Comparison(
        against=against,
        output=name,
        # Written so that a NaN error is not ok.
        ok=error <= tolerance.relative_l2 or farthest <= tolerance.max_abs,
        relative_l2=_finite(error),
        max_abs=_finite(farthest),
        cosine=_finite(float(reference @ other) / norms) if norms else None,
        bound=tolerance.relative_l2,
        absolute_bound=tolerance.max_abs,
        note="" if math.isfinite(error) else f"relative L2 is {error}",
    )


def _finite(number: float) -> float | None:
    """JSON has no NaN and no infinity; the comparison says in its note what it found."""
    return number if math.isfinite(number) else None


def compare_rows(
    reference: Sequence[Mapping[str, Tensor]],
    other: Sequence[Mapping[str, Tensor]],
    tolerance: Tolerance,
    against: str,
) -> list[Comparison]:
    """Every output of every row; an output that only one side has is a difference."""
    found = []
    for index, (expected, actual) in enumerate(zip(reference, other, strict=True)):
        label = f"{against}, row {index}" if len(reference) > 1 else against
        found += compare_outputs(expected, actual, tolerance, label)
    return found


def compare_outputs(
    reference: Mapping[str, Tensor], other: Mapping[str, Tensor], tolerance: Tolerance, against: str
) -> list[Comparison]:
    """Every output by name; one that only one side has is a difference."""
    missing = [
        Comparison(against=against, output=name, ok=False, note="missing" if name in reference else "unexpected")
        for name in sorted(set(reference) ^ set(other))
    ]
    shared = [name for name in reference if name in other]
    return missing + [compare(name, reference[name], other[name], tolerance, against) for name in shared]


def compare_decoded(
    reference: Sequence[Any], other: Sequence[Any], tolerance: Tolerance, against: str, differ: Differ | None = None
) -> Comparison:
    """The decoded answers of a batch, held against each other as the task does it (``differ``): same labels, same text, same
    tokens, and numbers that agree.

    A decoded number may differ by ten times the bound on the outputs: a softmax turns an error of the logits into at most
    that times their size, and theirs is of order ten.
    """
    found: list[str] = []
    for index, (expected, actual) in enumerate(zip(reference, other, strict=True)):
        found += (differ or differences)(expected, actual, 10 * tolerance.relative_l2, f"answer[{index}]")
    note = "; ".join(found[:3]) + (f"; and {len(found) - 3} more" if len(found) > 3 else "")
    return Comparison(against=against, output="decoded", ok=not found, note=note or "the same answer")


Differ = Callable[[Any, Any, float, str], Iterable[str]]
"""How the answers to one input differ: expected, actual, the bound on a number, and where they stand."""


def differences(reference: Any, other: Any, bound: float, where: str, size: float | None = None) -> Iterator[str]:
    """Every place where two answers differ: numbers by more than ``bound``, anything else at all. A number may be off by that
    much of itself and of ``size``, the size of the numbers that it stands among, as raw outputs are held against each other."""
    size = size or _size(reference)
    if isinstance(reference, np.ndarray | float) and isinstance(other, np.ndarray | float):
        expected, actual = np.asarray(reference), np.asarray(other)
        if expected.shape != actual.shape:
            yield f"{where}: shape {actual.shape}, expected {expected.shape}"
        elif not _agree(expected, actual, bound, size):
            yield f"{where}: {_short(other)}, expected {_short(reference)}"
    elif isinstance(reference, dict) and isinstance(other, dict) and reference.keys() == other.keys():
        for key in reference:
            yield from differences(reference[key], other[key], bound, f"{where}.{key}")
    elif isinstance(reference, list) and isinstance(other, list) and len(reference) == len(other):
        if _are_numbers(reference) and _are_numbers(other) and _agree(reference, other, bound, size):
            return  # at once: the answer of a picture model holds millions of numbers
        for index, (expected, actual) in enumerate(zip(reference, other, strict=True)):
            yield from differences(expected, actual, bound, f"{where}[{index}]", size if size > 1 else None)
    elif reference != other:
        yield f"{where}: {_short(other)}, expected {_short(reference)}"


def _size(answer: Any) -> float:
    """The root mean square of an answer that is numbers and nothing else, without those that say that something is masked, and
    at least 1, as for a number alone."""
    try:
        numbers = np.asarray(answer, np.float64)
    except (TypeError, ValueError):
        return 1.0  # no numbers, or rows of unequal lengths
    finite = numbers[np.isfinite(numbers) & (numbers > NO_NUMBER)]
    return max(1.0, float(np.sqrt(np.square(finite).mean()))) if numbers.ndim and finite.size else 1.0


def _are_numbers(answer: list[Any]) -> bool:
    return all(type(entry) is float for entry in answer)


def _agree(expected: Any, actual: Any, bound: float, size: float) -> bool:
    expected, actual = np.asarray(expected, np.float64), np.asarray(actual, np.float64)
    masked = masked_in_both(expected, actual)
    expected, actual = np.where(masked, 0.0, expected), np.where(masked, 0.0, actual)
    return np.allclose(actual, expected, rtol=bound, atol=bound * size, equal_nan=True)


def ranked_differences(reference: list[Any], other: list[Any], bound: float, where: str) -> Iterator[str]:
    """Two rankings, ``[{"score": …, <what>: …}, …]`` best first: the same scores in the same order, and the same things but
    for those whose scores tie. A thing at the end of a ranking that is cut off may give its place to one that ties with it."""
    if len(reference) != len(other):
        yield f"{where}: {len(other)} entries, expected {len(reference)}"
        return
    scores = [entry["score"] for entry in reference]
    yield from differences(scores, [entry["score"] for entry in other], bound, f"{where} scores")
    things = [_thing(entry) for entry in reference]
    for rank, entry in enumerate(other):
        thing = _thing(entry)
        place = things.index(thing) if thing in things else len(scores) - 1
        if abs(scores[place] - scores[rank]) > bound:
            yield f"{where}[{rank}]: {_short(thing)}, expected {_short(things[rank])}"


def _thing(entry: Mapping[str, Any]) -> list[tuple[str, Any]]:
    return [(key, value) for key, value in entry.items() if key != "score"]


def box_differences(reference: list[Any], other: list[Any], bound: float, where: str) -> Iterator[str]:
    """Two lists of detections, ``{"score", "label", "box": {"xmin", …}}``: each has its counterpart of the same label with an
    intersection over union of at least :data:`BOX_OVERLAP` and a score that agrees, in whatever order."""
    if len(reference) != len(other):
        yield f"{where}: {len(other)} boxes, expected {len(reference)}"
        return
    left = list(other)
    for expected in reference:
        fits = [
            entry
            for entry in left
            if entry["label"] == expected["label"]
            and abs(entry["score"] - expected["score"]) <= bound
            and overlap(entry["box"], expected["box"]) >= BOX_OVERLAP
        ]
        if fits:
            left.remove(max(fits, key=lambda entry: overlap(entry["box"], expected["box"])))
        else:
            yield f"{where}: no counterpart of {_short(expected)}"


BOX_OVERLAP = 0.95
"""A box of a picture of 48 pixels that is rounded to whole pixels and lies one pixel off still has this much in common with one
of 20 pixels or more; one that stands elsewhere does not."""

MASK_AGREEMENT = 0.995
"""The share of the pixels that two label maps have in common: one pixel in two hundred may lie on an edge that rounding
moves."""


def overlap(first: Mapping[str, float], second: Mapping[str, float]) -> float:
    """Intersection over union of two boxes; 1 for two that are the same, however small."""
    if dict(first) == dict(second):
        return 1.0
    width = min(first["xmax"], second["xmax"]) - max(first["xmin"], second["xmin"])
    height = min(first["ymax"], second["ymax"]) - max(first["ymin"], second["ymin"])
    shared = max(0.0, width) * max(0.0, height)
    areas = [(box["xmax"] - box["xmin"]) * (box["ymax"] - box["ymin"]) for box in (first, second)]
    return shared / (sum(areas) - shared) if shared else 0.0


def mask_differences(reference: NDArray[Any], other: NDArray[Any], bound: float, where: str) -> Iterator[str]:
    """Two label maps: the same shape, and the same label on all but a few pixels of an edge."""
    if reference.shape != other.shape:
        yield f"{where}: shape {other.shape}, expected {reference.shape}"
    elif (agreement := float((reference == other).mean())) < MASK_AGREEMENT:
        yield f"{where}: {agreement:.2%} of the pixels agree"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "…"


def faults_of(outputs: Mapping[str, Tensor]) -> list[str]:
    """What is wrong with outputs on their own: a number that is not finite, or a tensor that says nothing."""
    faults = []
    for name, tensor in outputs.items():
        if not tensor.is_floating_point() or not tensor.numel():
            continue
        if not torch.isfinite(tensor).all():
            faults.append(f"{name} holds {int((~torch.isfinite(tensor)).sum())} non-finite of {tensor.numel()} numbers")
        elif tensor.numel() > 1 and bool((tensor == tensor.flatten()[0]).all()):
            faults.append(f"{name} is constant: {float(tensor.flatten()[0]):g} everywhere")
        elif not tensor.any():
            faults.append(f"{name} is zero")
    return faults
