"""Are the calls inside a class wired rightly? Read from its file alone; nothing runs.

What is looked at is the class, its bases in the file, and the functions and classes of the file that these come to use.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path

from pyflakes.checker import Checker
from pyflakes.messages import UndefinedLocal, UndefinedName

from ...specs import SkillSource
from ...words import nearest
from ..findings import Check, Finding
from .calls import check_calls
from .catching import catching
from .syntax import (
    Definition,
    attributes,
    class_chain,
    definitions,
    is_closed,
    methods,
    own_attribute,
    parse,
)
from .unfailing import check_unfailing


def check_wiring(source: SkillSource) -> list[Finding]:
    """Calls that do not fit what they call, names that nothing defines, and a ``__test__`` that cannot fail."""
    try:
        data = Path(source.file).read_bytes()
    except OSError:
        return []  # that it does not load says so
    return list(_found(source.file, source.name, data))


@lru_cache(maxsize=8)
def _found(file: str, name: str, data: bytes) -> tuple[Finding, ...]:
    """The same, looked at once for all the cases of a class while its file holds ``data``."""
    try:
        tree = parse(file)
    except (SyntaxError, OSError):
        return ()
    chain = class_chain(tree, name)
    if not chain:
        return ()
    used = _used(tree, chain)
    found = [
        *_undefined(tree, used, file),
        *_own(tree, chain, file),
        *check_calls(tree, chain, used, file),
        *check_unfailing(tree, chain, file),
        *catching(used, file),
    ]
    return tuple(sorted(found, key=lambda finding: finding.line))


def _used(tree: ast.Module, chain: Sequence[ast.ClassDef]) -> list[Definition]:
    """The class, its bases, and the definitions of the file that their code names, and so on."""
    known = definitions(tree.body)
    found: dict[Definition, None] = dict.fromkeys(chain)
    waiting: list[Definition] = list(chain)
    while waiting:
        for part in ast.walk(waiting.pop()):
            node = known.get(part.id) if isinstance(part, ast.Name) else None
            if node is not None and node not in found:
                found[node] = None
                waiting.append(node)
    return list(found)


def _undefined(tree: ast.Module, used: Sequence[Definition], file: str) -> Iterator[Finding]:
    """Names that nothing defines, as pyflakes finds them, where the code of the class comes to use them; notes in a module that
    may define them out of sight."""
    lines = {line for node in used for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)}
    lines |= {line for node in tree.body if not isinstance(node, Definition | ast.If) for line in _lines(node)}
    evaluated, open_ended = _evaluated(tree), _makes_names(tree)
    for message in sorted(Checker(tree, filename=file).messages, key=lambda message: message.lineno):
        if isinstance(message, UndefinedName | UndefinedLocal) and message.lineno in lines:
            name = str(message.message_args[0])
            if (name, message.lineno, message.col) in evaluated:
                how = "before it is given a value" if isinstance(message, UndefinedLocal) else "and nothing defines it"
                says = f"{name} is used {how}"
                yield Finding(check=Check.WIRING, says=says, file=file, line=message.lineno, note=open_ended)


def _makes_names(tree: ast.Module) -> bool:
    """Whether the module makes global names that its code does not show, by ``globals()`` or ``exec``."""
    for part in ast.walk(tree):
        called = part.value if isinstance(part, ast.Attribute | ast.Subscript) else None
        if isinstance(called, ast.Call) and getattr(called.func, "id", "") == "globals":
            return True
        if isinstance(part, ast.Call) and getattr(part.func, "id", "") == "exec":
            return True
    return False


def _lines(node: ast.stmt) -> range:
    return range(node.lineno, (node.end_lineno or node.lineno) + 1)


def _evaluated(tree: ast.Module) -> set[tuple[str, int, int]]:
    """Each use of a name that runs: not those in annotations, which are often strings, and mostly for the reader; nor those of
    names that the code asks about, as in ``if "tokens" in locals()``."""
    asked = {
        part.left.value
        for part in ast.walk(tree)
        if isinstance(part, ast.Compare) and isinstance(part.left, ast.Constant) and isinstance(part.left.value, str)
    }
    annotations: set[ast.AST] = set()
    for part in ast.walk(tree):
        for slot in ("annotation", "returns"):
            if (annotation := getattr(part, slot, None)) is not None:
                annotations.update(ast.walk(annotation))
    return {
        (part.id, part.lineno, part.col_offset)
        for part in ast.walk(tree)
        if isinstance(part, ast.Name) and part not in annotations and part.id not in asked
    }


def _own(tree: ast.Module, chain: Sequence[ast.ClassDef], file: str) -> Iterator[Finding]:
    """Methods and attributes of ``self`` that nothing defines: called, or given to themselves (``self.init = self.init``)."""
    if not is_closed(tree, chain):
        return
    known = {*methods(chain), *attributes(chain), *dir(object)}
    for node in chain:
        known |= {
            part.value for part in ast.walk(node) if isinstance(part, ast.Constant) and isinstance(part.value, str)
        }
    for node in chain:
        for part in ast.walk(node):
            if isinstance(part, ast.Call):
                name = own_attribute(part.func)
                what = "is called"
            elif isinstance(part, ast.Assign) and own_attribute(part.targets[0]) == own_attribute(part.value):
                name = own_attribute(part.value)
                what = "is used"
            else:
                continue
            if name and name not in known:
                says = f"self.{name} {what}, and nothing defines it{_near(name, chain)}"
                yield Finding(check=Check.WIRING, says=says, file=file, line=part.lineno)


def _near(name: str, chain: Sequence[ast.ClassDef]) -> str:
    """The nearest method, where there is one."""
    near = nearest(name, methods(chain))
    return near if "did you mean" in near else ""
