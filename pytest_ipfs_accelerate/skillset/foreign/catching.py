"""Where a class catches whatever goes wrong and goes on."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence

from ..findings import Check, Finding
from .syntax import Definition, Function, statements

_BROAD = {"Exception", "BaseException"}


def is_broad(handler: ast.ExceptHandler) -> bool:
    """Whether it catches every exception."""
    caught = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(part is None or getattr(part, "id", getattr(part, "attr", "")) in _BROAD for part in caught)


def swallows(handler: ast.ExceptHandler) -> bool:
    """Whether a handler goes on as if nothing had happened: no branch of it raises, or ends the program."""
    return not any(isinstance(part, ast.Raise) for part in statements(handler.body))


def catching(used: Sequence[Definition], file: str) -> Iterator[Finding]:
    """A note for each function that does so, with the lines."""
    for node in used:
        for function in ast.walk(node):
            if not isinstance(function, Function):
                continue
            lines = sorted(
                handler.lineno
                for part in statements(function.body)
                if isinstance(part, ast.Try)
                for handler in part.handlers
                if is_broad(handler) and swallows(handler)
            )
            if lines:
                where = f"line{'s' if len(lines) > 1 else ''} {', '.join(map(str, lines))}"
                says = f"{function.name} catches every exception and goes on ({where})"
                yield Finding(check=Check.SWALLOWED, says=says, file=file, line=lines[0], note=True)
