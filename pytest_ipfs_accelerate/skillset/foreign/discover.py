"""The skill classes of a user, found in directories, files and packages without importing anything."""

from __future__ import annotations

import ast
import os
import pkgutil
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import pytest

from ...specs import SkillSource
from ...words import nearest
from ..names import PREFIX, class_name, parse_factory
from .inherited import whole_chain
from .syntax import attributes, definitions, methods, parse

_CLASS = re.compile(rb"^\s*class\s+" + PREFIX.encode(), re.MULTILINE)
_SKIPPED = {"__pycache__", "node_modules", "site-packages", "dist-packages", "build", "dist"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Skill:
    """A class that was found, or the place where one must be. ``factories`` are hardware and task word of each that it offers;
    ``fault`` says why no case of it can run."""

    source: SkillSource
    factories: tuple[tuple[str, str], ...] = ()
    fault: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Discovery:
    """What was found: a skill for each model type, in the order of the registry, with those at the end that no model type has
    the name of; and what a user must know of what is not there."""

    skills: Mapping[str, Skill]
    warnings: tuple[str, ...] = ()


class _Found(NamedTuple):
    """A class of a file, with the names of its bases. It is not ``shown`` where the file is named after it, parses, and does
    not define it: the file may take it from another."""

    skill: Skill
    bases: tuple[str, ...] = ()
    shown: bool = True


def discover(
    words: Sequence[str],
    base: Path,
    models: Iterable[str],
    *,
    option: str = "--ipfs-skillset",
    left_out: Iterable[str] = (),
) -> Discovery:
    """The skill classes that ``words`` lead to: directories, files, relative to ``base``, and names of importable packages.
    ``models`` are the model types that there are; classes of those in ``left_out`` are passed over.

    A file that does not parse is no error here: the case of the class that must be in it fails.

    Raises:
        pytest.UsageError: a word leads nowhere or to no class, or two classes claim one model type.
    """
    names = {class_name(model): model for model in models}
    passed = {class_name(model) for model in left_out} - set(names)
    found: dict[str, dict[SkillSource, _Found]] = {}
    warnings: list[str] = []
    for word in words:
        path = _locate(word, base, option)
        some = [one for file in _files(path) for one in _classes(file, names, warnings)]
        if not some:
            said = "".join(f"; {warning}" for warning in warnings if warning.startswith(str(path)))
            raise pytest.UsageError(f"{option}: {word}: no class {PREFIX}<type> in {path}{said}")
        for one in some:
            if (name := one.skill.source.name) not in passed:
                found.setdefault(name, {})[one.skill.source] = one
    bases = {base for some in found.values() for one in some.values() for base in one.bases}
    chosen = {
        name: _choose(list(some.values()), option, warnings)
        for name, some in found.items()
        if name in names or name not in bases
    }
    skills = {model: chosen[name] for name, model in names.items() if name in chosen}
    unknown = {name: skill for name, skill in chosen.items() if name not in names}
    if unknown and not skills:
        said = "; ".join(f"{_place(skill)}: {_no_model(name, names)}" for name, skill in unknown.items())
        raise pytest.UsageError(f"{option}: {said}")
    for name, skill in unknown.items():
        skills[name.removeprefix(PREFIX)] = replace(skill, fault=_no_model(name, names))
    return Discovery(skills=skills, warnings=tuple(warnings))


def _no_model(name: str, names: Mapping[str, str]) -> str:
    model = name.removeprefix(PREFIX)
    return f"no model type {model!r} in the registry{_close(model, names.values())}"


def _place(skill: Skill) -> str:
    return f"{skill.source.file}:{skill.source.line}"


def _locate(word: str, base: Path, option: str) -> Path:
    """The file or directory that a word names, as a path or as a package.

    Raises:
        pytest.UsageError: there is neither.
    """
    path = Path(os.path.abspath(base / Path(word).expanduser()))
    if path.exists():
        return path
    parts = word.split(".")
    if not all(part.isidentifier() for part in parts):
        siblings = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
        where = f" in {path.parent}" if siblings else f": there is no directory {path.parent}"
        raise pytest.UsageError(
            f"{option}: {word!r} does not exist{where}{nearest(path.name, siblings) if siblings else ''}"
        )
    top = _package(parts[0])
    if top is None:
        known = [*(entry.name for entry in base.iterdir()), *(module.name for module in pkgutil.iter_modules())]
        raise pytest.UsageError(f"{option}: {word!r} is neither a path nor an importable package{_close(word, known)}")
    for part in parts[1:]:
        inner = top / part
        top = inner if inner.is_dir() else top / f"{part}.py"
    if not top.exists():
        inside = sorted({entry.stem for entry in top.parent.glob("[!_.]*")}) if top.parent.is_dir() else []
        raise pytest.UsageError(
            f"{option}: {word!r}: no module {parts[-1]!r} in {top.parent}{nearest(parts[-1], inside)}"
        )
    return top


def _close(word: str, known: Iterable[str]) -> str:
    """The nearest spelling where there is one; not the whole list of what there is."""
    near = nearest(word, known)
    return near if "did you mean" in near else ""


def _package(name: str) -> Path | None:
    """Where an importable top-level package or module is. It is not imported."""
    try:
        spec = find_spec(name)
    except ValueError:  # __main__ and the like are loaded and have no spec
        return None
    if spec is None:
        return None
    places = list(spec.submodule_search_locations or ())
    return Path(places[0]) if places else Path(spec.origin) if spec.has_location and spec.origin else None


def _files(path: Path) -> Iterator[Path]:
    """The files of Python below a path, those of hidden directories, virtual environments and build outputs left out."""
    if not path.is_dir():
        yield path
        return
    for directory, inner, files in os.walk(path):
        inner[:] = sorted(
            name
            for name in inner
            if not name.startswith(".")
            and name not in _SKIPPED
            and not os.path.exists(os.path.join(directory, name, "pyvenv.cfg"))
        )
        yield from (Path(directory, name) for name in sorted(files) if name.endswith(".py"))


def _classes(file: Path, names: Mapping[str, str], warnings: list[str]) -> list[_Found]:
    """The skill classes of a file, or the one that its name promises, where the file does not parse or does not show it."""
    try:
        mentions = _CLASS.search(file.read_bytes()) is not None
    except OSError as error:
        warnings.append(f"{file} cannot be read: {error.strerror}")
        return []
    promised = _promised(file, names)
    if not mentions and not promised:
        return []
    root, module = _import_place(file)
    place = SkillSource(name=promised, file=str(file), root=str(root), module=module)
    try:
        tree = parse(file)
    except SyntaxError as error:
        if promised:
            return [_Found(Skill(source=place))]
        if mentions:
            warnings.append(
                f"{file}:{error.lineno or 0}: does not parse, and its name is that of no class: {error.msg}"
            )
        return []
    found = [
        _class(tree, node, place)
        for name, node in definitions(tree.body).items()
        if name.startswith(PREFIX) and isinstance(node, ast.ClassDef)
    ]
    if not found and promised == file.stem and promised in names:
        return [_Found(Skill(source=place), shown=False)]
    return found


def _class(tree: ast.Module, node: ast.ClassDef, place: SkillSource) -> _Found:
    chain = whole_chain(tree, node.name, Path(place.file), Path(place.root))
    offered = [*methods(chain), *attributes(chain)]
    factories = tuple(dict.fromkeys(parsed for name in offered if (parsed := parse_factory(name))))
    bases = [getattr(base, "id", getattr(base, "attr", "")) for part in chain for base in part.bases]
    return _Found(Skill(source=replace(place, name=node.name, line=node.lineno), factories=factories), tuple(bases))


def _promised(file: Path, names: Mapping[str, str]) -> str:
    """The class that the name of a file promises: ``hf_bert`` for ``hf_bert.py`` and, a known type, for ``bert.py``."""
    stem = file.stem
    if stem.startswith(PREFIX) and stem.isidentifier():
        return stem
    return name if (name := f"{PREFIX}{stem}") in names else ""


def _import_place(file: Path) -> tuple[Path, str]:
    """The directory that must be on ``sys.path`` and the name by which a file is imported then; no name where none can be."""
    parts = [] if file.stem == "__init__" else [file.stem]
    root = file.parent
    while (root / "__init__.py").is_file() and root.name.isidentifier() and root != root.parent:
        parts.insert(0, root.name)
        root = root.parent
    return root, ".".join(parts) if parts and all(part.isidentifier() for part in parts) else ""


def _choose(found: list[_Found], option: str, warnings: list[str]) -> Skill:
    """The one of several classes of a name that a worker finds: that of the module of the same name.

    Raises:
        pytest.UsageError: none is that, or more than one.
    """
    skills = [one.skill for one in found if one.shown] or [one.skill for one in found]
    if len(skills) == 1:
        return skills[0]
    name = skills[0].source.name
    named = [skill for skill in skills if Path(skill.source.file).stem in (name, name.removeprefix(PREFIX))]
    if len(named) != 1:
        places = " and ".join(map(_place, skills))
        raise pytest.UsageError(f"{option}: {name} is there more than once, and a case checks one: {places}")
    warnings += [
        f"{_place(skill)}: this {name} is not checked, {_place(named[0])} is"
        for skill in skills
        if skill is not named[0]
    ]
    return named[0]
