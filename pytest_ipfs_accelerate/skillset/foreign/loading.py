"""A user's skill class, loaded both ways: by import, and from its file as a worker does. It runs in the host."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import sys
import sysconfig
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, TracebackType
from typing import NamedTuple

from ...specs import SkillSource
from ..findings import Check, Finding
from .syntax import parse, statements

_INSTALLED = ("site-packages", "dist-packages")
_OTHERS = (Path(sysconfig.get_paths()["stdlib"]), Path(__file__).parents[2])


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """What loading gave: the class, ``None`` where no way led to it, and what went wrong on the way."""

    cls: type | None
    findings: tuple[Finding, ...]


class _State(NamedTuple):
    """What was there before a class was loaded, to be there again before the next one is."""

    path: list[str]
    modules: dict[str, ModuleType]
    source: SkillSource


_before: list[_State] = []


def load(source: SkillSource) -> Loaded:
    """The class of a source, and what keeps it from loading by import or as a worker does.

    The way by import is that of a program: ``root`` on ``sys.path``, ``import module``, which for a module of a package is the
    same as ``from .module import …`` inside it. A worker also loads the file itself, by a spec; a module of a package under its
    full name, so that its relative imports hold.

    ``root`` stays on ``sys.path`` after it, since methods may import when they are called; the next ``load`` undoes that, and
    forgets the user's modules, so that each case begins with fresh ones.
    """
    _restore()
    _before.append(_State(path=list(sys.path), modules=dict(sys.modules), source=source))
    sys.path.insert(0, source.root)
    from_file = _attempt(source, _from_file)
    _forget(source, _before[-1].modules)
    imported = _attempt(source, _by_import)
    found = [way for way in (imported, from_file) if isinstance(way, type)]
    ways = {"by import": imported, "from its file, as a worker loads it": from_file}
    if imported == from_file and isinstance(imported, _Fault):
        ways = {"by import or from its file": imported}
    findings = [
        Finding(
            check=Check.IMPORT,
            says=f"{source.name} does not load {how}: {fault.says}",
            file=fault.file,
            line=fault.line,
        )
        for how, fault in ways.items()
        if isinstance(fault, _Fault)
    ]
    return Loaded(cls=found[0] if found else None, findings=(*findings, *swallowed_imports(source)))


class _Fault(NamedTuple):
    """Why a way does not lead to the class, and where in the user's code."""

    says: str
    file: str
    line: int


def _attempt(source: SkillSource, way: Callable[[SkillSource], ModuleType]) -> type | _Fault:
    """The class by one way, or why not. This is the boundary to code of the user's at import: whatever it raises is a fault of
    its own."""
    try:
        module = way(source)
        found = getattr(module, source.name, None)
    except (Exception, SystemExit) as error:
        return _Fault(f"{type(error).__name__}: {error}", *place_of(error, source))
    if isinstance(found, type):
        return found
    says = f"the module has no {source.name}" if found is None else f"{source.name} is of type {type(found).__name__}"
    return _Fault(says, source.file, source.line)


def _by_import(source: SkillSource) -> ModuleType:
    if not source.module:
        raise ImportError(f"the name of {Path(source.file).name!r} is no name of a module")
    importlib.invalidate_caches()
    module = importlib.import_module(source.module)
    there = getattr(module, "__file__", None) or "a built-in module"
    if not _same(there, source.file):
        raise ImportError(f"import {source.module} gives {there}")
    return module


def _from_file(source: SkillSource) -> ModuleType:
    package = source.module.rpartition(".")[0]
    if package:
        importlib.import_module(package)
    name = source.module or Path(source.file).stem
    spec = importlib.util.spec_from_file_location(name, source.file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{source.file} is no file that can be imported")
    module = importlib.util.module_from_spec(spec)
    before = sys.modules.get(name)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        if before is None:
            del sys.modules[name]
        else:
            sys.modules[name] = before
        raise
    return module


def _same(one: str, other: str) -> bool:
    try:
        return Path(one).samefile(other)
    except OSError:
        return False


def place_of(error: BaseException, source: SkillSource) -> tuple[str, int]:
    """Where in the user's code an exception came from: the innermost frame in it, or the line that does not parse; the class
    where there is none."""
    if isinstance(error, SyntaxError) and error.filename and is_users(error.filename, source):
        return error.filename, error.lineno or 0
    found = [place for place in _frames(error.__traceback__) if is_users(place[0], source)]
    return found[-1] if found else (source.file, source.line)


def _frames(traceback: TracebackType | None) -> Iterator[tuple[str, int]]:
    while traceback is not None:
        yield traceback.tb_frame.f_code.co_filename, traceback.tb_lineno
        traceback = traceback.tb_next


def is_users(file: str, source: SkillSource) -> bool:
    """Whether a file belongs to the code that is checked: below its root, and where that holds more than its package, below the
    package. What is installed below the root, or is of Python or of ours, does not."""
    path, root = Path(file), Path(source.root)
    if "." in source.module:
        return path.is_relative_to(root / source.module.partition(".")[0])
    if root.name in _INSTALLED:
        return file == source.file
    return (
        path.is_relative_to(root)
        and not any(part in _INSTALLED for part in path.relative_to(root).parts)
        and not any(path.is_relative_to(other) for other in _OTHERS)
    )


def _restore() -> None:
    """Undo what the last ``load`` did to ``sys.path`` and ``sys.modules``."""
    while _before:
        state = _before.pop()
        sys.path[:] = state.path
        _forget(state.source, state.modules)


def _forget(source: SkillSource, kept: dict[str, ModuleType]) -> None:
    """Take the user's modules that were not there before out of ``sys.modules``. What is installed stays: not every library can
    be loaded twice."""
    for name, module in list(sys.modules.items()):
        if kept.get(name) is module:
            continue  # first: of thousands of modules nearly all
        file = getattr(module, "__file__", None)
        if not (isinstance(file, str) and file.endswith(".py") and is_users(file, source)):
            continue
        if name in kept:
            sys.modules[name] = kept[name]
        else:
            del sys.modules[name]


def swallowed_imports(source: SkillSource) -> list[Finding]:
    """A note for each import in the file that fails here and whose failure the file swallows: ``try: import x`` of what is not
    installed, with an ``except`` that does not raise."""
    try:
        tree = parse(source.file)
    except (SyntaxError, OSError):
        return []
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Try) and any(map(_swallows_import, node.handlers)):
            for statement in statements(node.body):
                for name in _missing(statement, source):
                    says = f"the import of {name} fails here and is swallowed: {ast.unparse(statement)}"
                    found.append(
                        Finding(check=Check.IMPORT, says=says, file=source.file, line=statement.lineno, note=True)
                    )
    return found


def _swallows_import(handler: ast.ExceptHandler) -> bool:
    """Whether a handler catches an ``ImportError`` and goes on."""
    caught = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    names = {getattr(part, "id", getattr(part, "attr", "")) if part is not None else "" for part in caught}
    catches = handler.type is None or bool(names & {"ImportError", "ModuleNotFoundError", "Exception", "BaseException"})
    return catches and not any(isinstance(part, ast.Raise) for part in statements(handler.body))


def _missing(statement: ast.stmt, source: SkillSource) -> Iterator[str]:
    """The modules that an import names and that are not there. Only the first part of a dotted name is looked for: to look for
    more would import it."""
    package = source.module.rpartition(".")[0]
    if isinstance(statement, ast.Import):
        names = [alias.name for alias in statement.names]
    elif isinstance(statement, ast.ImportFrom) and statement.level:
        if not package:
            yield "." * statement.level + (statement.module or "")
        return
    elif isinstance(statement, ast.ImportFrom) and statement.module:
        names = [statement.module]
    else:
        return
    for name in names:
        top = name.partition(".")[0]
        try:
            there = top in sys.modules or importlib.util.find_spec(top) is not None
        except ValueError:
            there = True
        if not there:
            yield name
