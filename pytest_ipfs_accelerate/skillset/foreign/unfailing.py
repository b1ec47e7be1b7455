"""Can the ``__test__`` of a class fail?"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping, Sequence

from ..findings import Check, Finding
from .catching import swallows
from .syntax import Function, definitions, expressions, methods, own_attribute, statements

_VERDICT = re.compile(r"assert|check|verify|validate|compare|expect|fail|exit|test", re.IGNORECASE)
"""Names of functions from elsewhere that may well end a test."""

_CATCHES = {"Exception", "BaseException", "AssertionError"}


def check_unfailing(tree: ast.Module, chain: Sequence[ast.ClassDef], file: str) -> Iterator[Finding]:
    """A finding for a ``__test__`` that ends in one way whatever the handler answers: no ``assert``, no ``raise`` and no
    verdict that it returns can be reached, or its own ``except`` swallows them. A note where it fails only if the handler
    raises."""
    own = methods(chain)
    test = own.get("__test__")
    if test is None or _can_fail(test, own, definitions(tree.body), frozenset()):
        return
    given = {argument.arg for argument in test.args.args}
    calls = (
        part for statement in _unguarded(test.body) for part in expressions(statement) if isinstance(part, ast.Call)
    )
    weak = any(getattr(call.func, "id", "") in given for call in calls)
    says = (
        "fails only where the handler raises: it does not look at the answer"
        if weak
        else ("cannot fail: whatever the handler answers, it neither raises nor returns another verdict")
    )
    yield Finding(check=Check.SELF_TEST, says=f"__test__ {says}", file=file, line=test.lineno, note=weak)


def _can_fail(function: Function, own: Mapping[str, Function], top: Mapping[str, object], seen: frozenset[str]) -> bool:
    if _gives_verdicts(function):
        return True
    return any(_may_raise(part, own, top, seen | {function.name}) for part in _unguarded(function.body))


def _gives_verdicts(function: Function) -> bool:
    """Whether it returns what depends on something: an expression that is no constant, or constants that differ."""
    returned = [part.value for part in statements(function.body) if isinstance(part, ast.Return)]
    constants = {part.value if isinstance(part, ast.Constant) else None for part in returned}
    if any(part is not None and not isinstance(part, ast.Constant) for part in returned):
        return True
    return len(constants | ({None} if _falls_through(function.body) else set())) > 1


def _falls_through(body: Sequence[ast.stmt]) -> bool:
    """Whether a body may come to its end."""
    match body[-1] if body else None:
        case ast.Return() | ast.Raise():
            return False
        case ast.If(body=then, orelse=other):
            return _falls_through(then) or _falls_through(other)
        case ast.With(body=inner) | ast.AsyncWith(body=inner):
            return _falls_through(inner)
        case ast.Try(body=inner, orelse=other, handlers=handlers, finalbody=final):
            if final and not _falls_through(final):
                return False
            return _falls_through(other or inner) or any(_falls_through(handler.body) for handler in handlers)
    return True


def _unguarded(body: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements of a body whose exceptions leave it."""
    for statement in body:
        if isinstance(statement, ast.Try):
            if not any(_catches(handler) and swallows(handler) for handler in statement.handlers):
                yield from _unguarded(statement.body)
            for handler in statement.handlers:
                yield from _unguarded(handler.body)
            yield from _unguarded([*statement.orelse, *statement.finalbody])
        elif isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        else:
            yield statement
            for field in ("body", "orelse"):
                yield from _unguarded(getattr(statement, field, []))
            for case in getattr(statement, "cases", []):
                yield from _unguarded(case.body)


def _catches(handler: ast.ExceptHandler) -> bool:
    caught = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(part is None or getattr(part, "id", getattr(part, "attr", "")) in _CATCHES for part in caught)


def _may_raise(
    statement: ast.stmt, own: Mapping[str, Function], top: Mapping[str, object], seen: frozenset[str]
) -> bool:
    """Whether a statement is an ``assert`` that is not of a constant, a ``raise``, or a call of what can fail a test."""
    if isinstance(statement, ast.Raise):
        return True
    if isinstance(statement, ast.Assert):
        return not isinstance(statement.test, ast.Constant) or not statement.test.value
    for part in expressions(statement):
        if not isinstance(part, ast.Call):
            continue
        name = own_attribute(part.func)
        target = own.get(name) if name else top.get(getattr(part.func, "id", ""))
        if isinstance(target, ast.FunctionDef | ast.AsyncFunctionDef):
            if target.name not in seen and _can_fail_by_raising(target, own, top, seen):
                return True
        elif _VERDICT.search(getattr(part.func, "attr", getattr(part.func, "id", ""))):
            return True
    return False


def _can_fail_by_raising(
    function: Function, own: Mapping[str, Function], top: Mapping[str, object], seen: frozenset[str]
) -> bool:
    return any(_may_raise(part, own, top, seen | {function.name}) for part in _unguarded(function.body))
