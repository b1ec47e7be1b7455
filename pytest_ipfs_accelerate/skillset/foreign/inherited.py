"""The bases of a class in other files of the same package or directory, followed by the text of imports."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from .syntax import class_chain, parse, statements


def whole_chain(tree: ast.Module, name: str, file: Path, root: Path) -> list[ast.ClassDef]:
    """A class and its bases, those in the file and those that it imports from a file below ``root``. What lies elsewhere, or
    does not parse, is left out."""
    found: dict[tuple[Path, str], ast.ClassDef] = {}

    def follow(tree: ast.Module, name: str, file: Path) -> None:
        chain = class_chain(tree, name)
        here = {node.name for node in chain}
        new = [node for node in chain if (file, node.name) not in found]
        found.update({(file, node.name): node for node in new})
        for base in (base.id for node in new for base in node.bases if isinstance(base, ast.Name)):
            for original, other in _imported(tree, base, file, root) if base not in here else ():
                try:
                    follow(parse(other), original, other)
                except (SyntaxError, OSError):
                    continue

    follow(tree, name, file)
    return list(found.values())


def _imported(tree: ast.Module, name: str, file: Path, root: Path) -> Iterator[tuple[str, Path]]:
    """Under which name, and from which file, a module imports a name with ``from … import``."""
    for statement in statements(tree.body):
        if not isinstance(statement, ast.ImportFrom):
            continue
        for alias in statement.names:
            if (alias.asname or alias.name) == name:
                start = [file.parent, *file.parent.parents][statement.level - 1] if statement.level else root
                place = start.joinpath(*(statement.module or "").split("."))
                for other in (place.with_suffix(".py"), place / "__init__.py"):
                    if other.is_file() and other.is_relative_to(root):
                        yield alias.name, other
