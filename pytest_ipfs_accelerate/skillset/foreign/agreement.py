"""Whether an answer is what the reference gives: each part of it held against every form in which it may be right.

The rules, so that nobody has to guess:

- **Numbers** must be, within the tolerance, one of the outputs of the reference or what is commonly made of one (pooled
  over positions, normalised, as probabilities); the verdict says which.
- **A generated text** must be the decoding of the first *k* tokens of the reference, *k* at least one, with the prompt before
  it or without. It may be shorter or longer than ours, since how many tokens are made is the class's choice; it may not break
  off within a token.
- **A text of the input** that is given back under ``text`` beside an answer is no part of that.
- **A label** must be the best one of the reference, or tie with it; in a ranking each stands where its score puts it.
  **A score** must be the softmax, sigmoid or logit of the label beside it, or of the best one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ...models.processors import tokenizer_of
from ...parity import Tolerance, compare, relative_l2
from ...results import HandlerResult
from ...verdict import Comparison
from .answers import Answer, Kind, Part, detections
from .expected import Expected, Scored


@dataclass(frozen=True, slots=True)
class Held:
    """One part of an answer held against the reference. ``what`` says as what it agrees, or what it comes nearest to and how
    it differs; ``width`` says that it is not even as wide as anything that the config names."""

    part: str
    ok: bool
    what: str
    comparison: Comparison
    width: bool = False


def hold(answer: Answer, expected: Expected, tolerance: Tolerance, against: str) -> list[Held]:
    """Every part of an answer, and nothing where there is none to hold."""
    if (whole := _whole(answer, expected, tolerance)) is not None and not whole:
        return [_held("the answer", "as the pipeline of the task gives it", against)]
    said = [part for part in answer.parts if not _is_echo(part, expected)] or answer.parts
    found = [_hold(part, answer, expected, tolerance, against) for part in said]
    if not found and whole:
        return [_held("the answer", "; ".join(whole[:3]), against, ok=False)]
    return found


def _is_echo(part: Part, expected: Expected) -> bool:
    """Whether a part is the text of the input, given back under ``text`` beside the answer."""
    natural = expected.natural.get("text") if isinstance(expected.natural, dict) else expected.natural
    return part.kind is Kind.TEXT and _name(part) == "text" and part.value == natural


def _held(part: str, what: str, against: str, *, ok: bool = True) -> Held:
    comparison = Comparison(against=against, output=part, ok=ok, note=what)
    return Held(part, ok, what, comparison)


def _whole(answer: Answer, expected: Expected, tolerance: Tolerance) -> list[str] | None:
    """How an answer in the very form of the pipeline differs; ``None`` where it has another form."""
    raw = answer.raw
    value = raw.decoded[0] if isinstance(raw, HandlerResult) and len(raw.decoded) == 1 else raw
    for one in (value, value[0] if isinstance(value, list) and len(value) == 1 else None, detections(value)):
        if one is not None and _alike(expected.decoded, one):
            bound = 10 * tolerance.relative_l2
            return list(expected.task.differences(expected.decoded, one, bound, "the answer"))
    return None


def _alike(expected: Any, value: Any) -> bool:
    """Whether two answers have one form: the same keys all the way down."""
    if isinstance(expected, dict):
        return (
            isinstance(value, dict)
            and value.keys() == expected.keys()
            and all(_alike(expected[key], value[key]) for key in expected)
        )
    if isinstance(expected, list):
        return isinstance(value, list) and bool(expected) and all(_alike(expected[0], item) for item in value)
    return type(expected) is type(value)


def _hold(part: Part, answer: Answer, expected: Expected, tolerance: Tolerance, against: str) -> Held:
    match part.kind:
        case Kind.NUMBERS:
            return _hold_numbers(part, expected, tolerance, against)
        case Kind.TEXT:
            ok, what = text_agrees(part.value, expected)
        case Kind.LABEL | Kind.INDEX:
            ok, what = _label_agrees(part, answer, expected, tolerance)
        case Kind.SCORE:
            ok, what = _score_agrees(part, answer, expected, tolerance)
    return _held(str(part), what, against, ok=ok)


def _hold_numbers(part: Part, expected: Expected, tolerance: Tolerance, against: str) -> Held:
    value = part.value.squeeze()
    forms = [(what, tensor.squeeze()) for what, tensor in expected.numbers]
    fits = [
        (what, tensor)
        for what, tensor in forms
        if tensor.shape == value.shape and tensor.is_floating_point() == value.is_floating_point()
    ]
    if not fits:
        widths = widths_of(expected)
        width = int(value.shape[-1]) if value.dim() else 1
        known = ", ".join(f"{name} {size}" for name, size in widths.items())
        what = f"its shape is {tuple(part.value.shape)}; nothing that the reference gives has it ({known})"
        outputs = {int(tensor.shape[-1]) for _, tensor in forms if tensor.dim()}
        held = _held(str(part), what, against, ok=False)
        return replace(held, width=value.dim() > 0 and width not in (*outputs, *widths.values()))
    what, nearest = min(fits, key=lambda fit: _distance(fit[1], value))
    bound = replace(tolerance, relative_l2=10 * tolerance.relative_l2) if "softmax" in what else tolerance
    comparison = replace(compare(str(part), nearest, value, bound, against), note=what)
    if comparison.ok:
        return Held(str(part), True, what, comparison)
    distance = f"relative L2 {_distance(nearest, value):.2e}, bound {bound.relative_l2:.0e}"
    return Held(str(part), False, f"nothing that the reference gives; nearest is {what}: {distance}", comparison)


def _distance(reference: Tensor, value: Tensor) -> float:
    found = relative_l2(reference, value)
    return math.inf if math.isnan(found) else found


def widths_of(expected: Expected) -> dict[str, int]:
    """The widths that a config names, by name, its nested configs' too."""
    names = ("hidden_size", "d_model", "n_embd", "embed_dim", "projection_dim", "vocab_size", "num_labels", "dim")
    found: dict[str, int] = {}
    config = expected.task.config
    nested = [getattr(config, name, None) for name in getattr(config, "sub_configs", {}) or ()]
    for each in (config, *nested):
        for name in names:
            if isinstance(size := getattr(each, name, None), int):
                found.setdefault(name if each is config else f"{type(each).__name__}.{name}", size)
    return found


def text_agrees(text: str, expected: Expected) -> tuple[bool, str]:
    """Whether a text is what the reference says, and as what it is or how it departs."""
    plain = _plain(text)
    if any(way.generates for way in expected.ways):
        return _continuation_agrees(plain, expected)
    strings = [_plain(one) for way in expected.ways for one in _strings(way.decoded)]
    strings += [_plain(scored.names[int(scored.logits.argmax())]) for scored in expected.scored]
    if plain and plain in strings:
        return True, "the answer of the reference"
    return False, f"{_short(text)}, and the reference says {_short(strings[0]) if strings else 'nothing'}"


def _continuation_agrees(plain: str, expected: Expected) -> tuple[bool, str]:
    nearest = ""
    for longer in (False, True):
        for index, way in enumerate(expected.ways):
            tokens = way.row["tokens"]
            if longer:
                whole = next(_continuations(tokens, None, expected))[2]
                if whole not in plain:
                    continue  # what goes on must have all of it first
                tokens = expected.longer(way, _tokens_in(plain, expected))
            for count, prompted, candidate in _continuations(tokens, way.encoded.get("input_ids"), expected):
                if plain and plain == candidate:
                    prompt = "the prompt and " if prompted else ""
                    how = f", {way.how}" if index or way is expected.own else ""
                    return True, f"{prompt}the first {count} tokens of the reference{how}"
                if not nearest or common(candidate, plain) > common(nearest, plain):
                    nearest = candidate
    shared = common(nearest, plain)
    return False, f"{_short(plain)}, and the reference {_short(nearest)}: they part after {shared} characters"


def _tokens_in(plain: str, expected: Expected) -> int:
    """How many tokens a text may hold at most: its own tokenizer's count of it, and some for what it leaves out."""
    return len(tokenizer_of(expected.task.processor)(plain)["input_ids"]) + 8


def _continuations(tokens: Tensor, prompt: Tensor | None, expected: Expected) -> Iterator[tuple[int, bool, str]]:
    """Every text that begins as the reference does, by how many of its tokens it holds, and whether the prompt is before it."""
    tokenizer = tokenizer_of(expected.task.processor)
    ids = tokens.tolist()
    before = prompt[0].tolist() if prompt is not None else []
    natural = expected.natural.get("text") if isinstance(expected.natural, dict) else expected.natural
    for skip in (True, False):
        for count in range(len(ids), 0, -1):
            alone = tokenizer.decode(ids[:count], skip_special_tokens=skip)
            yield count, False, _plain(alone)
            if isinstance(natural, str):
                yield count, True, _plain(natural + alone)
            if before:
                yield count, True, _plain(tokenizer.decode(before + ids[:count], skip_special_tokens=skip))


def _plain(text: str) -> str:
    return " ".join(text.split())


def common(first: str, second: str) -> int:
    """How many characters two texts begin with in common."""
    return next(
        (i for i, (a, b) in enumerate(zip(first, second, strict=False)) if a != b), min(len(first), len(second))
    )


def _strings(value: Any) -> Iterator[str]:
    """The strings of an answer; of a ranking those of its best entry."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _strings(item)
    elif isinstance(value, list) and value:
        yield from _strings(value[0])


def _label_agrees(part: Part, answer: Answer, expected: Expected, tolerance: Tolerance) -> tuple[bool, str]:
    rank = _rank(part, answer)
    said = "nothing"
    for scored in expected.scored:
        order = scored.logits.argsort(descending=True, stable=True)
        said = repr(scored.names[int(order[min(rank, len(order) - 1)])])
        index = _index_of(part, scored)
        if index is None or rank >= len(order):
            continue
        right = float(scored.logits[order[rank]])
        if abs(float(scored.logits[index]) - right) <= tolerance.relative_l2 * max(1.0, abs(right)):
            return True, f"number {rank + 1} of {scored.source}"
    return False, f"{_short(part.value)}, and the reference says {said}"


def _rank(part: Part, answer: Answer) -> int:
    """How many parts of the same kind and name stand before one: its place in a ranking."""
    name = part.path.rpartition(".")[2].partition("[")[0]
    same = [one for one in answer.parts if one.kind is part.kind and _name(one) == name]
    return next(index for index, one in enumerate(same) if one is part)


def _name(part: Part) -> str:
    return part.path.rpartition(".")[2].partition("[")[0]


def _index_of(part: Part, scored: Scored) -> int | None:
    """Which of the scored things a label or an index names."""
    if part.kind is Kind.LABEL and isinstance(part.value, str):
        plain = _plain(part.value)
        return next((index for index, name in enumerate(scored.names) if _plain(name) == plain), None)
    index = int(part.value)
    return index if 0 <= index < len(scored.names) else None


def _score_agrees(part: Part, answer: Answer, expected: Expected, tolerance: Tolerance) -> tuple[bool, str]:
    beside = [one for one in answer.parts if one.within == part.within and one.kind in (Kind.LABEL, Kind.INDEX)]
    said = "no scores"
    for scored in expected.scored:
        index = next((found for one in beside if (found := _index_of(one, scored)) is not None), None)
        best = int(scored.logits.argmax()) if index is None else index
        for name, scores in _as_scores(scored.logits):
            right = float(scores[best])
            if _close(float(part.value), right, tolerance):
                return True, f"the {name} of {scored.names[best]!r}"
        said = f"{float(scored.logits.softmax(-1)[best]):.6g} for {scored.names[best]!r}"
    own = expected.decoded.get("score") if isinstance(expected.decoded, dict) else None
    if isinstance(own, float):
        return _close(float(part.value), own, tolerance), f"{part.value:.6g}, and the reference says {own:.6g}"
    return False, f"{part.value:.6g}, and the reference says {said}"


def _as_scores(logits: Tensor) -> Iterator[tuple[str, Tensor]]:
    yield "softmax", logits.softmax(-1)
    yield "sigmoid", logits.sigmoid()
    yield "logit", logits


def _close(value: float, right: float, tolerance: Tolerance) -> bool:
    """Within ten times the bound, as for every decoded number; or rounded to the three digits or more that it shows."""
    if abs(value - right) <= 10 * tolerance.relative_l2 * max(1.0, abs(right)):
        return True
    digits = len(repr(value).partition(".")[2])
    return 3 <= digits <= 6 and round(right, digits) == value


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "…"


def same_answer(first: Answer, second: Answer, bound: float) -> bool:
    """Whether two answers are the same: the same parts, numbers within ``bound`` of each other."""
    if len(first.parts) != len(second.parts):
        return False
    return all(_same_part(one, other, bound) for one, other in zip(first.parts, second.parts, strict=True))


def _same_part(first: Part, second: Part, bound: float) -> bool:
    if (first.path, first.kind) != (second.path, second.kind):
        return False
    if first.kind is Kind.SCORE:
        return abs(float(first.value) - float(second.value)) <= bound
    if first.kind is not Kind.NUMBERS:
        return bool(first.value == second.value)
    if first.value.shape != second.value.shape:
        return False
    if not first.value.is_floating_point():
        return torch.equal(first.value, second.value)
    return relative_l2(first.value, second.value) <= bound
