"""Has a class the methods of the worker/skillset interface, and do they return what it says?

A class that loaded is read as Python has it, bases from elsewhere included; one that did not is read from its file.
"""

from __future__ import annotations

import ast
import inspect
import operator
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ...specs import SkillSource
from ...words import nearest
from ..findings import Check, Finding
from ..names import factory_name, init_name, parse_factory, snake
from .binding import NotCallable, bind_factory, bind_init
from .syntax import Function, aliases, attributes, class_chain, listed, methods, parse, signature_of, statements

PARTS = ("endpoint", "processor", "handler", "queue", "batch size")
"""What ``init_<hardware>`` returns."""

_QUEUES = ("put", "put_nowait", "send", "send_nowait")


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A method of a class: what it takes without ``self`` (``None`` where that is unknown), and where it stands."""

    signature: inspect.Signature | None
    file: str
    line: int


def factory_of(cls: type | None, hardware: str, words: Sequence[str]) -> str:
    """The name of the factory of a class for a task on a hardware, by the words for the task; empty where there is none."""
    members = _members_of(cls) if cls is not None else {}
    return _factory(members, hardware, words)


def check_class(cls: type | None, source: SkillSource, hardware: str, words: Sequence[str]) -> list[Finding]:
    """What a class lacks of the interface for a task, by its words, on a hardware; read from its file where it did not load."""
    chain = _chain(source)
    members = _members_in(chain, source.file) if cls is None else _members_of(cls)
    if not members and not chain:
        return []  # nothing of the class is there to be read: that it does not load says all
    init = init_name(hardware)
    factory = _factory(members, hardware, words)
    found = [*_missing(members, source, hardware, words, factory)]
    for name, check in (("__init__", _constructor), (init, _init), (factory, _factory_arity)):
        if (member := members.get(name)) and member.signature is not None:
            found += check(member.signature, name, member)
    found += [*_short_returns(chain, init, source.file), *_unplaced(members, source, hardware)]
    return found


def check_tuple(result: object, source: SkillSource, init: str) -> list[Finding]:
    """What is wrong with that which ``init_<hardware>`` returned: it should be (endpoint, processor, handler, queue, batch
    size)."""
    method = methods(_chain(source)).get(init)
    line = method.lineno if method else source.line

    def finding(says: str) -> Finding:
        return Finding(check=Check.INTERFACE, says=f"{init} {says}", file=source.file, line=line)

    if inspect.isawaitable(result):
        return [finding("is a coroutine: a worker does not wait for it")]
    if not isinstance(result, tuple | list):
        return [finding(f"returns {_kind(result)}, not ({', '.join(PARTS)})")]
    if len(result) != len(PARTS):
        return [finding(f"returns {len(result)} values, not the five of ({', '.join(PARTS)})")]
    _, _, handler, queue, batch_size = result
    found = []
    if not callable(handler):
        found.append(finding(f"returns a handler that is not callable: {_kind(handler)}"))
    if not any(callable(getattr(queue, name, None)) for name in _QUEUES) and not _is_stream_pair(queue):
        found.append(finding(f"returns no queue in the fourth place, but {_kind(queue)}"))
    if not _is_count(batch_size):
        found.append(finding(f"returns a batch size that is no whole number: {_kind(batch_size)}"))
    return found


def check_handler(handler: object, source: SkillSource, factory: str) -> list[Finding]:
    """What is wrong with that which a factory returned: it should be a handler, something to call."""
    if callable(handler) and not inspect.isawaitable(handler):
        return []
    method = methods(_chain(source)).get(factory)
    says = f"{factory} returns a handler that is not callable: {_kind(handler)}"
    return [Finding(check=Check.INTERFACE, says=says, file=source.file, line=method.lineno if method else source.line)]


def _kind(value: object) -> str:
    """A value for a person: ``None``, or its type."""
    return "None" if value is None else f"a value of type {type(value).__name__}"


def _is_stream_pair(queue: object) -> bool:
    """Whether it is a sending and a receiving end, which some libraries give in place of a queue."""
    return isinstance(queue, tuple) and any(hasattr(end, "send") for end in queue)


def _is_count(value: Any) -> bool:
    if isinstance(value, bool):
        return False
    try:
        operator.index(value)
    except TypeError:
        return False
    return True


def _factory(members: Iterable[str], hardware: str, words: Sequence[str]) -> str:
    known = set(members)
    return next((name for word in words if (name := factory_name(hardware, word)) in known), "")


def _missing(
    members: dict[str, Member], source: SkillSource, hardware: str, words: Sequence[str], factory: str
) -> Iterator[Finding]:
    def finding(says: str, *, note: bool = False) -> Finding:
        says = f"{source.name} has no {says}"
        return Finding(check=Check.INTERFACE, says=says, file=source.file, line=source.line, note=note)

    if "__init__" not in members:
        yield finding("__init__(resources=None, metadata=None)")
    if (init := init_name(hardware)) not in members:
        yield finding(f"{init}{nearest(init, (name for name in members if name.startswith('init_')))}")
    if not factory:
        other = f" (nor with {', '.join(map(snake, words[1:]))} for its task)" if words[1:] else ""
        there = [name for name in members if (parsed := parse_factory(name)) and parsed[0] == hardware]
        yield finding(factory_name(hardware, words[0]) + other + (f"; it has {', '.join(there)}" if there else ""))
    if "__test__" not in members:
        yield finding("__test__, so nothing of it tests itself", note=True)


def _constructor(signature: inspect.Signature, name: str, member: Member) -> Iterator[Finding]:
    """A worker makes a class with ``resources`` and ``metadata``, by name or in this order."""
    for args, kwargs in (([None, None], {}), ([], {"resources": None, "metadata": None})):
        try:
            signature.bind(*args, **kwargs)
        except TypeError as error:
            says = f"{name}({listed(signature)}) does not take resources and metadata: {error}"
            yield Finding(check=Check.INTERFACE, says=says, file=member.file, line=member.line)
            return


def _init(signature: inspect.Signature, name: str, member: Member) -> Iterator[Finding]:
    try:
        bind_init(signature, name, name.removeprefix("init_"), "", "", "", (member.file, member.line))
    except NotCallable as error:
        yield error.finding


def _factory_arity(signature: inspect.Signature, name: str, member: Member) -> Iterator[Finding]:
    values = dict.fromkeys(("checkpoint", "device", "label", "endpoint", "processor"))
    try:
        bind_factory(signature, name, values, (member.file, member.line))
    except NotCallable as error:
        yield error.finding


def _short_returns(chain: Sequence[ast.ClassDef], init: str, file: str) -> Iterator[Finding]:
    """Each ``return`` of an ``init_<hardware>`` that gives another number of values than five."""
    method = methods(chain).get(init) or methods(chain).get(aliases(chain).get(init, ""))
    for statement in statements(method.body) if method else ():
        if isinstance(statement, ast.Return) and isinstance(statement.value, ast.Tuple):
            values = statement.value.elts
            if len(values) != len(PARTS) and not any(isinstance(value, ast.Starred) for value in values):
                says = f"{init} returns {len(values)} values here, not the five of ({', '.join(PARTS)})"
                yield Finding(check=Check.INTERFACE, says=says, file=file, line=statement.lineno)


def _unplaced(members: dict[str, Member], source: SkillSource, hardware: str) -> Iterator[Finding]:
    """A note for each factory of the hardware that no case runs, since the model type has no task of that word."""
    for name in source.unplaced:
        parsed = parse_factory(name)
        if parsed and parsed[0] == hardware and name in members:
            says = f"{name}: its model type has no task that {parsed[1]!r} is a word for, so no case runs it"
            member = members[name]
            yield Finding(check=Check.INTERFACE, says=says, file=member.file, line=member.line, note=True)


def _chain(source: SkillSource) -> list[ast.ClassDef]:
    try:
        return class_chain(parse(source.file), source.name)
    except (SyntaxError, OSError):
        return []


def _members_in(chain: Sequence[ast.ClassDef], file: str) -> dict[str, Member]:
    """The methods that a file shows of a class, those included that ``__init__`` hangs on the instance."""
    found = {name: _member(node, file) for name, node in methods(chain).items()}
    for name, original in aliases(chain).items():
        if original in found:
            found.setdefault(name, found[original])
    for name in attributes(chain):
        if name.startswith(("init_", "create_")):
            found.setdefault(name, Member(signature=None, file=file, line=chain[0].lineno))
    return found


def _member(node: Function, file: str) -> Member:
    return Member(signature=signature_of(node, method=True), file=file, line=node.lineno)


def _members_of(cls: type) -> dict[str, Member]:
    """The methods of a class that loaded, with those that its ``__init__`` and its bases' hang on the instance."""
    found: dict[str, Member] = {}
    for name in dir(cls):
        raw = inspect.getattr_static(cls, name)
        function = getattr(raw, "__func__", raw)
        if not callable(function) or getattr(object, name, None) is function:
            continue
        code = getattr(inspect.unwrap(function), "__code__", None)
        found[name] = Member(
            signature=_signature(function, bound=not isinstance(raw, staticmethod)),
            file=code.co_filename if code else "",
            line=code.co_firstlineno if code else 0,
        )
    for base in cls.__mro__:
        file = next((m.file for n in vars(base) if (m := found.get(n)) and m.file), "")
        if file:
            source = SkillSource(name=base.__name__, file=file, root="", module="")
            for name, member in _members_in(_chain(source), file).items():
                found.setdefault(name, member)
    return found


def _signature(function: Any, *, bound: bool) -> inspect.Signature | None:
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return None
    parameters = list(signature.parameters.values())
    if bound and parameters and parameters[0].kind is not inspect.Parameter.VAR_POSITIONAL:
        del parameters[0]
    return signature.replace(parameters=parameters)
