"""A file of Python as it is written: its classes, their methods and signatures, with nothing imported."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

Function = ast.FunctionDef | ast.AsyncFunctionDef
Definition = Function | ast.ClassDef


def parse(file: str | Path) -> ast.Module:
    """The syntax tree of a file.

    Raises:
        SyntaxError: it does not parse; its ``filename`` and ``lineno`` say where.
        OSError: it cannot be read.
    """
    data = Path(file).read_bytes()
    try:
        return ast.parse(data, filename=str(file))
    except SyntaxError:
        raise
    except (ValueError, RecursionError, MemoryError) as error:
        # A null byte, or an expression that is nested too deep for the parser.
        raise SyntaxError(str(error) or type(error).__name__, (str(file), 1, 1, "")) from error


def statements(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements of a body and of the branches in it, but not those of the functions and classes that it defines."""
    for statement in body:
        yield statement
        if not isinstance(statement, Definition):
            for _, value in ast.iter_fields(statement):
                if isinstance(value, list):
                    for part in value:
                        if isinstance(part, ast.ExceptHandler | ast.match_case):
                            yield from statements(part.body)
                    yield from statements(part for part in value if isinstance(part, ast.stmt))


def expressions(statement: ast.stmt) -> Iterator[ast.AST]:
    """The expressions of a statement and all their parts, without those of the statements in it."""
    waiting: list[ast.AST] = [statement]
    while waiting:
        for part in ast.iter_child_nodes(waiting.pop()):
            if not isinstance(part, ast.stmt | ast.ExceptHandler | ast.match_case):
                yield part
                waiting.append(part)


def definitions(body: Iterable[ast.stmt]) -> dict[str, Definition]:
    """The functions and classes that a body defines, by name; of several of one name the last, as Python has it."""
    return {node.name: node for node in statements(body) if isinstance(node, Definition)}


def class_chain(tree: ast.Module, name: str) -> list[ast.ClassDef]:
    """A class and its bases as far as the file defines them, in the order in which a method is looked up."""
    known = definitions(tree.body)
    chain: dict[ast.ClassDef, None] = {}

    def follow(name: str) -> None:
        node = known.get(name)
        if isinstance(node, ast.ClassDef) and node not in chain:
            chain[node] = None
            for base in node.bases:
                if isinstance(base, ast.Name):
                    follow(base.id)

    follow(name)
    return list(chain)


def is_closed(tree: ast.Module, chain: Sequence[ast.ClassDef]) -> bool:
    """Whether the file shows all that the class has: no base, decorator or metaclass from elsewhere, nothing that makes
    attributes by name."""
    names = {node.name for node in chain}
    for node in chain:
        foreign = [base for base in node.bases if not (isinstance(base, ast.Name) and base.id in {*names, "object"})]
        if foreign or node.decorator_list or node.keywords:
            return False
        for part in ast.walk(node):
            if isinstance(part, Function) and part.name in ("__getattr__", "__getattribute__"):
                return False
            if isinstance(part, ast.Call) and getattr(part.func, "id", "") == "setattr":
                return False
            if isinstance(part, ast.Attribute) and part.attr == "update" and _is_namespace(part.value):
                return False
            if isinstance(part, ast.Subscript) and isinstance(part.ctx, ast.Store) and _is_namespace(part.value):
                return False
    # The file may also hang a method on the class from outside: hf_bert.init_cpu = init_cpu.
    return not any(
        isinstance(part, ast.Attribute)
        and isinstance(part.ctx, ast.Store)
        and isinstance(part.value, ast.Name)
        and part.value.id in names
        for part in ast.walk(tree)
    )


def _is_namespace(node: ast.expr) -> bool:
    """Whether it is ``self.__dict__`` or ``vars(self)``."""
    return own_attribute(node) == "__dict__" or (isinstance(node, ast.Call) and getattr(node.func, "id", "") == "vars")


def methods(chain: Iterable[ast.ClassDef]) -> dict[str, Function]:
    """The methods of a class and of its bases in the file, each as a lookup finds it."""
    found: dict[str, Function] = {}
    for node in chain:
        for name, part in definitions(node.body).items():
            if isinstance(part, Function):
                found.setdefault(name, part)
    return found


def attributes(chain: Iterable[ast.ClassDef]) -> dict[str, list[ast.expr | None]]:
    """What a class assigns to attributes of ``self`` and in its body, by name; ``None`` for what is no plain assignment. That
    an attribute is given its own value (``self.init = self.init``) defines nothing, and is left out."""
    found: dict[str, list[ast.expr | None]] = {}
    for node in chain:
        for name, value in _of_body(node):
            found.setdefault(name, []).append(value)
        for part in ast.walk(node):
            for target, value in _assignments(part):
                if (name := own_attribute(target)) and own_attribute(value) != name:
                    found.setdefault(name, []).append(value)
    return found


def _of_body(node: ast.ClassDef) -> Iterator[tuple[str, ast.expr | None]]:
    """What the body of a class assigns, and the classes that it defines."""
    for statement in statements(node.body):
        if isinstance(statement, ast.ClassDef):
            yield statement.name, None
        for target, value in _assignments(statement):
            if isinstance(target, ast.Name):
                yield target.id, value


def aliases(chain: Iterable[ast.ClassDef]) -> dict[str, str]:
    """Attributes that are another name for a method: ``self.init_qualcomm = self.init_openvino``, and in the body
    ``init_qualcomm = init_openvino``."""
    chain = list(chain)
    of_body = {value for node in chain for _, value in _of_body(node)}
    found = {}
    for name, values in attributes(chain).items():
        value = values[0] if len(values) == 1 else None
        original = value.id if isinstance(value, ast.Name) and value in of_body else own_attribute(value)
        if original:
            found[name] = original
    return found


def own_attribute(node: ast.AST | None) -> str:
    """The name of an attribute of ``self``, ``init`` for ``self.init``; empty for any other expression."""
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self":
        return node.attr
    return ""


def _assignments(node: ast.AST) -> Iterator[tuple[ast.expr, ast.expr | None]]:
    """The targets of a statement that binds, each with its value where that is plain."""
    match node:
        case ast.Assign(targets=targets, value=value):
            for target in targets:
                yield from _targets(target, value)
        case ast.AnnAssign(target=target, value=value) if value is not None:
            yield from _targets(target, value)
        case ast.NamedExpr(target=target, value=value):
            yield target, value
        case ast.AugAssign(target=target) | ast.For(target=target) | ast.AsyncFor(target=target):
            yield from _targets(target, None)
        case ast.With(items=items) | ast.AsyncWith(items=items):
            for item in items:
                if item.optional_vars is not None:
                    yield from _targets(item.optional_vars, None)
        case ast.Import(names=names) | ast.ImportFrom(names=names):
            for name in names:
                yield ast.Name((name.asname or name.name).partition(".")[0], ast.Store()), None


def _targets(target: ast.expr, value: ast.expr | None) -> Iterator[tuple[ast.expr, ast.expr | None]]:
    if isinstance(target, ast.Tuple | ast.List):
        for part in target.elts:
            yield from _targets(part, None)
    elif isinstance(target, ast.Starred):
        yield from _targets(target.value, None)
    else:
        yield target, value


def listed(signature: inspect.Signature) -> str:
    """The names of the parameters of a signature, for a person; ``none`` where there is none."""
    stars: dict[object, str] = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}
    return ", ".join(stars.get(each.kind, "") + each.name for each in signature.parameters.values()) or "none"


_KEPT = {"staticmethod", "classmethod", "abstractmethod", "override", "no_grad", "inference_mode", "cache", "lru_cache"}
"""Decorators after which a function takes the same arguments."""


def decorators(node: Definition) -> set[str]:
    """The last names of its decorators: ``no_grad`` for ``@torch.no_grad()``."""
    found = set()
    for expression in node.decorator_list:
        called = expression.func if isinstance(expression, ast.Call) else expression
        found.add(called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "?"))
    return found


def signature_of(node: Function, *, method: bool = False) -> inspect.Signature | None:
    """What a function takes, of a method without ``self``; ``None`` where a decorator may have changed it. A default is there
    as a syntax tree."""
    marks = decorators(node)
    if not marks <= _KEPT:
        return None
    kinds = inspect.Parameter
    arguments = node.args
    ordered = [*arguments.posonlyargs, *arguments.args]
    defaults = [kinds.empty] * (len(ordered) - len(arguments.defaults)) + list(arguments.defaults)
    parameters = [
        kinds(
            a.arg, kinds.POSITIONAL_ONLY if a in arguments.posonlyargs else kinds.POSITIONAL_OR_KEYWORD, default=default
        )
        for a, default in zip(ordered, defaults, strict=True)
    ]
    if method and "staticmethod" not in marks and parameters:
        del parameters[0]
    if arguments.vararg:
        parameters.append(kinds(arguments.vararg.arg, kinds.VAR_POSITIONAL))
    parameters += [
        kinds(a.arg, kinds.KEYWORD_ONLY, default=kinds.empty if default is None else default)
        for a, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    ]
    if arguments.kwarg:
        parameters.append(kinds(arguments.kwarg.arg, kinds.VAR_KEYWORD))
    return inspect.Signature(parameters)
