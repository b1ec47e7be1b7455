"""The ``__test__`` of a class, run: with its own handler, and with two that are broken on purpose. What its source says
of it is read by :mod:`.selftest`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from ...specs import SkillSource
from ..findings import Check, Finding
from .claims import Says, claims_of
from .opening import Opened, settled


class BrokenOnPurpose(Exception):
    """What a handler raises that is broken on purpose."""


def _raises(*arguments: Any, **keywords: Any) -> Any:
    raise BrokenOnPurpose("this handler is broken on purpose")


def _says_nothing(*arguments: Any, **keywords: Any) -> Any:
    return None


BROKEN: Mapping[str, Callable[..., Any]] = {"raises": _raises, "returns None": _says_nothing}


def run_self_test(
    opened: Opened, handler: Callable[..., Any], source: SkillSource, checkpoint: str, label: str
) -> list[Finding]:
    """Run ``__test__`` where there is one. It must let the class's own handler pass, and no broken one."""
    test = getattr(opened.skill, "__test__", None)
    if not callable(test):
        return []
    code = getattr(inspect.unwrap(test), "__code__", None)
    file, line = (code.co_filename, code.co_firstlineno) if code else (source.file, source.line)

    def finding(says: str) -> Finding:
        return Finding(check=Check.SELF_TEST, says=says, file=file, line=line)

    things = {"checkpoint": checkpoint, "label": label, "endpoint": opened.endpoint, "processor": opened.processor}
    arguments = _arguments(test, things | {"handler": handler})
    if arguments is None:
        taken = ", ".join(inspect.signature(test).parameters)
        return [finding(f"__test__ takes ({taken}), not (endpoint_model, endpoint_handler, endpoint_label, tokenizer)")]
    found = []
    if failed := _failed(test, arguments):
        found.append(finding(f"__test__ fails with the class's own handler: {failed}"))
    happy = [how for how, broken in BROKEN.items() if not _failed(test, _arguments(test, things | {"handler": broken}))]
    if happy:
        can = "fails only where the handler raises" if happy == ["returns None"] else "cannot fail"
        says = f"__test__ {can}: it is content with a handler that {' and with one that '.join(happy)}"
        found.append(replace(finding(says), note=can != "cannot fail"))
    return found


def _arguments(test: Any, things: Mapping[str, Any]) -> dict[str, Any] | None:
    """The arguments of ``__test__`` by the names of its parameters; ``None`` where one has no known name."""
    found: dict[str, Any] = {}
    for one in inspect.signature(test).parameters.values():
        if one.kind in (one.VAR_POSITIONAL, one.VAR_KEYWORD):
            continue
        name = _meant(one.name.lower())
        if name:
            found[one.name] = things[name]
        elif one.default is one.empty:
            return None
    return found


def _meant(name: str) -> str:
    # "endpoint_handler" is a handler, "endpoint_model" the name of a model.
    for word, thing in (
        ("handler", "handler"),
        ("label", "label"),
        ("tokenizer", "processor"),
        ("processor", "processor"),
        ("model", "checkpoint"),
        ("endpoint", "endpoint"),
    ):
        if word in name:
            return thing
    return ""


def _failed(test: Any, arguments: Mapping[str, Any] | None) -> str:
    """How a run of ``__test__`` failed; empty where it did not. It fails when it raises, gives ``False``, or says that it is an
    error."""
    try:
        result = settled(test(**(arguments or {})))
    except (Exception, SystemExit) as error:
        return f"{type(error).__name__}: {error}"
    if result is False or getattr(result, "ok", True) is False:
        return "it gives False"
    if isinstance(result, Mapping) and (result.get("success") is False or result.get("passed") is False):
        return "it says that it did not succeed"
    errors = [claim.where for claim in claims_of(result, "its result") if claim.says is Says.ERROR]
    return errors[0] if errors else ""
