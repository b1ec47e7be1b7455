"""The calls in a file, held against the signatures of what it defines: methods, functions, classes, closures."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ..findings import Check, Finding
from .binding import CHECKPOINTS, DEVICES, ENDPOINTS, PROCESSORS
from .syntax import (
    Definition,
    Function,
    aliases,
    attributes,
    decorators,
    definitions,
    expressions,
    listed,
    methods,
    own_attribute,
    signature_of,
    statements,
)


@dataclass(frozen=True, slots=True)
class _Callee:
    """What a call leads to: its name for a person, its signature, and whether the interface has it."""

    name: str
    signature: inspect.Signature


def check_calls(
    tree: ast.Module, chain: Sequence[ast.ClassDef], used: Sequence[Definition], file: str
) -> Iterator[Finding]:
    """Calls of what the file defines, held against its signature."""
    own = _own_callees(chain)
    top = _scope(tree.body, {})
    for node in used:
        walker = _Walker(own if node in chain else {}, file)
        walker.visit_body(node, top)
        yield from walker.found


def _own_callees(chain: Sequence[ast.ClassDef]) -> dict[str, _Callee]:
    """The methods of a class by name, those left out that an attribute of the instance hides."""
    hidden = attributes(chain)
    found: dict[str, _Callee] = {}
    for name, node in methods(chain).items():
        signature = signature_of(node, method=True)
        mangled = name.startswith("__") and not name.endswith("__") and len(chain) > 1  # another one in each class
        if name not in hidden and not mangled and signature is not None:
            found[name] = _Callee(f"self.{name}", signature)
    for name, original in aliases(chain).items():
        if original in found and name not in found and name not in methods(chain):
            found[name] = _Callee(f"self.{name}", found[original].signature)
    return found


Scope = Mapping[str, _Callee | None]
"""What names are bound to: something of this file that can be called, or ``None`` for anything else."""


def _scope(body: Sequence[ast.stmt], outer: Scope) -> Scope:
    """The names that a body binds, over those of the scope around it. A name that is bound more than once, or to what is no
    definition, is nothing that can be held against a signature."""
    bound: dict[str, list[Definition | None]] = {}
    for statement in statements(body):
        if isinstance(statement, Definition):
            bound.setdefault(statement.name, []).append(statement)
        else:
            for name in _bound_names(statement):
                bound.setdefault(name, []).append(None)
    scope = dict(outer)
    for name, nodes in bound.items():
        node = nodes[0]
        scope[name] = _callee(node) if len(nodes) == 1 and node is not None else None
    return scope


def _bound_names(statement: ast.stmt) -> Iterator[str]:
    """The names that a statement binds in its own scope."""
    if isinstance(statement, ast.Import | ast.ImportFrom):
        yield from ((alias.asname or alias.name).partition(".")[0] for alias in statement.names)
        return
    if isinstance(statement, ast.Global | ast.Nonlocal):
        yield from statement.names
    for part in expressions(statement):
        if isinstance(part, ast.Name) and not isinstance(part.ctx, ast.Load):
            yield part.id
        elif isinstance(part, ast.arg):  # of a lambda
            yield part.arg
    if isinstance(statement, ast.Try):
        yield from (handler.name for handler in statement.handlers if handler.name)


def _callee(node: Definition) -> _Callee | None:
    """What is called where a definition is: a function, or a class by its own ``__init__``."""
    if isinstance(node, Function):
        signature = signature_of(node)
        return _Callee(node.name, signature) if signature is not None else None
    inner = definitions(node.body)
    init = inner.get("__init__")
    if decorators(node) or node.keywords or "__new__" in inner or not isinstance(init, Function):
        return None
    signature = signature_of(init, method=True)
    return _Callee(node.name, signature) if signature is not None else None


class _Walker:
    """Goes through the code of a definition, with the names that each place of it sees."""

    def __init__(self, own: Mapping[str, _Callee], file: str) -> None:
        self.own = own
        self.file = file
        self.found: list[Finding] = []

    def visit_body(self, node: Definition, outer: Scope) -> None:
        if isinstance(node, ast.ClassDef):
            # Methods do not see the names of the class's body.
            for statement in statements(node.body):
                if isinstance(statement, Definition):
                    self.visit_body(statement, outer)
                else:
                    self._visit(statement, outer, node.name)
            return
        parameters = dict.fromkeys(_parameters(node))
        inner = _scope(node.body, {**outer, **parameters})
        for statement in statements(node.body):
            if isinstance(statement, ast.ClassDef):
                nested = _Walker({}, self.file)
                nested.visit_body(statement, inner)
                self.found += nested.found
            elif isinstance(statement, Definition):
                self.visit_body(statement, inner)
            else:
                self._visit(statement, inner, node.name)

    def _visit(self, statement: ast.stmt, scope: Scope, within: str) -> None:
        for part in expressions(statement):
            if not isinstance(part, ast.Call):
                continue
            name = own_attribute(part.func)
            callee = (
                self.own.get(name) if name else scope.get(part.func.id) if isinstance(part.func, ast.Name) else None
            )
            if callee is not None:
                self.found += _check(part, callee, self.file, recursive=callee.name.removeprefix("self.") == within)


def _parameters(node: Function) -> Iterator[str]:
    arguments = node.args
    for each in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg):
        if each is not None:
            yield each.arg


def _check(call: ast.Call, callee: _Callee, file: str, *, recursive: bool) -> Iterator[Finding]:
    """One call against the signature that it calls."""

    def finding(says: str, *, note: bool = False) -> Finding:
        return Finding(check=Check.WIRING, says=says, file=file, line=call.lineno, note=note)

    starred = any(isinstance(argument, ast.Starred) for argument in call.args)
    spread = any(keyword.arg is None for keyword in call.keywords)
    args = [] if starred else list(call.args)
    kwargs = {keyword.arg: keyword.value for keyword in call.keywords if keyword.arg is not None}
    bind = callee.signature.bind_partial if starred or spread else callee.signature.bind
    takes = f"{callee.name}({listed(callee.signature)})"
    try:
        bound = bind(*args, **kwargs).arguments
    except TypeError as error:
        yield finding(f"{takes} is called with the wrong arguments: {error}")
        return
    if not recursive:
        wrong = list(_misplaced(bound, callee.signature, len(args)))
        if wrong:
            says = "; ".join(one.says for one in wrong)
            certain = any(one.certain for one in wrong)
            yield finding(f"{takes} is called with its arguments in the wrong places: {says}", note=not certain)


_ROLES = {
    **dict.fromkeys(CHECKPOINTS - {"model"}, "checkpoint"),
    **dict.fromkeys(ENDPOINTS, "endpoint"),
    **dict.fromkeys(PROCESSORS, "processor"),
    **dict.fromkeys(DEVICES, "place"),
}
"""What an argument of the interface is, by its name. A device and a label are both words for a place. ``model`` is left out: it
is the checkpoint in one class, and what was loaded from it in another."""


def _role(name: str) -> str:
    return "place" if name.endswith("_label") else _ROLES.get(name, "")


class _Misplaced(NamedTuple):
    """An argument in the wrong place, and whether that is certain."""

    says: str
    certain: bool


def _misplaced(bound: Mapping[str, object], signature: inspect.Signature, positional: int) -> Iterator[_Misplaced]:
    """Plain names passed for one parameter that are the name of another one, which gets something else.

    That is certainly wrong where the two are different things of the interface (an endpoint for a tokenizer), or one of them
    is and they have changed places. Two others that have changed places (``similarity(b, a)``) may be meant so.
    """
    names = {name: value.id for name, value in bound.items() if isinstance(value, ast.Name)}
    for index, parameter in enumerate(signature.parameters):
        passed = names.get(parameter, parameter)
        meant = _meant(passed, parameter, signature)
        if not meant or names.get(meant) == passed:
            continue
        roles = {_role(passed), _role(parameter)}
        swapped = names.get(meant) == parameter
        certain = len(roles) == 2 or "" not in roles
        # Whoever writes the name of the parameter means it, unless two have changed places.
        if (swapped and (certain or index < positional)) or (
            index < positional and len(roles) == 2 and "" not in roles
        ):
            other = bound.get(meant)
            instead = ast.unparse(other) if isinstance(other, ast.AST) else "its default"
            yield _Misplaced(f"{parameter} gets {passed}, while {meant} gets {instead}", certain)


def _meant(passed: str, parameter: str, signature: inspect.Signature) -> str:
    """The parameter that a name belongs to: the one of that name, else the only one of its role; empty where the name is in its
    place."""
    if passed == parameter:
        return ""
    if passed in signature.parameters:
        return passed
    role = _role(passed)
    same = [name for name in signature.parameters if role and _role(name) == role]
    return same[0] if len(same) == 1 and same[0] != parameter else ""
