"""Calls that are wired wrongly are found in their lines, and nothing is found in classes that are right."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from pytest_ipfs_accelerate.skillset.findings import Check, Finding
from pytest_ipfs_accelerate.skillset.foreign.wiring import check_wiring
from pytest_ipfs_accelerate.specs import SkillSource

EXEMPLARS = Path(__file__).parent / "exemplars"


def source(file: Path, name: str = "hf_bert") -> SkillSource:
    return SkillSource(name=name, file=str(file), root=str(file.parent), module=file.stem, line=1)


def wrong_lines(file: Path) -> list[int]:
    return [number for number, line in enumerate(file.read_text().splitlines(), 1) if line.endswith("# WRONG")]


def failing(findings: list[Finding]) -> list[Finding]:
    return [finding for finding in findings if not finding.note]


@pytest.mark.parametrize("name", ["wrong_calls", "wrong_places", "undefined_names"])
def test_every_wrong_line_is_found_and_no_other(name: str) -> None:
    file = EXEMPLARS / f"static/{name}.py"
    found = failing(check_wiring(source(file)))
    assert [finding.line for finding in found] == wrong_lines(file)
    assert {(finding.check, finding.file) for finding in found} == {(Check.WIRING, str(file))}


def test_what_is_said_of_them() -> None:
    places = [finding.says for finding in check_wiring(source(EXEMPLARS / "static/wrong_places.py"))]
    assert places[0].endswith(
        "endpoint_model gets endpoint, while endpoint gets cpu_label; device gets tokenizer, while tokenizer gets device;"
        " tokenizer gets device, while device gets tokenizer"
    )
    assert places[1].endswith("endpoint_model gets endpoint, while endpoint gets its default")
    assert places[2].endswith(
        "endpoint gets processor, while tokenizer gets endpoint; tokenizer gets endpoint, while endpoint gets processor"
    )
    calls = "\n".join(finding.says for finding in check_wiring(source(EXEMPLARS / "static/wrong_calls.py")))
    for says in (
        "self.create_cuda_text_embedding_endpoint_handler is used, and nothing defines it; did you mean",
        "self.create_cpu_text_embeding_endpoint_handler is called, and nothing defines it; did you mean",
        "self.prepare(model) is called with the wrong arguments: too many positional arguments",
        "Pool(width) is called with the wrong arguments: got an unexpected keyword argument 'depth'",
        "average(hidden, mask) is called with the wrong arguments: missing a required argument: 'mask'",
        "encode(text, width) is called with the wrong arguments: missing a required argument: 'width'",
    ):
        assert says in calls


CONVENTIONS = [
    (file, node.name)
    for file in sorted((EXEMPLARS / "conventions").glob("*.py"))
    for node in ast.parse(file.read_text()).body
    if isinstance(node, ast.ClassDef) and node.name.startswith("hf_")
]


@pytest.mark.parametrize(("file", "name"), CONVENTIONS, ids=lambda value: getattr(value, "stem", value))
def test_no_false_alarm(file: Path, name: str) -> None:
    assert failing(check_wiring(source(file, name))) == []


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("hf_swallowed", "cannot fail"),
        ("hf_silent", "cannot fail"),
        ("hf_roundabout", "cannot fail"),
        ("hf_weak", "fails only where the handler raises"),
        ("hf_raises_again", ""),
        ("hf_verdict", ""),
        ("hf_library", ""),
    ],
)
def test_a_self_test_that_cannot_fail(name: str, found: str) -> None:
    findings = check_wiring(source(EXEMPLARS / "static/self_tests.py", name))
    about = [finding for finding in findings if finding.check is Check.SELF_TEST]
    assert [found in finding.says for finding in about] == [True] * bool(found)
    assert [finding.note for finding in about] == [found.startswith("fails only")] * bool(found)


def check(tmp_path: Path, body: str) -> list[Finding]:
    file = tmp_path / "hf_bert.py"
    file.write_text(body)
    return check_wiring(source(file))


def test_where_it_catches_everything_is_a_note(tmp_path: Path) -> None:
    body = """
class hf_bert:
    def init_cpu(self, model, device, cpu_label):
        try:
            return load(model)
        except Exception as error:
            print(error)
        try:
            return load(device)
        except:
            pass
        try:
            return load(cpu_label)
        except (ValueError, OSError):
            return None
        except Exception as error:
            raise RuntimeError("no") from error

def load(model):
    return model
"""
    (finding,) = check(tmp_path, body)
    assert finding.note
    assert (finding.check, finding.line) == (Check.SWALLOWED, 6)
    assert finding.says == "init_cpu catches every exception and goes on (lines 6, 10)"


@pytest.mark.parametrize(
    "body",
    [
        # What cannot be known is no finding: attributes by name, a base or a decorator from elsewhere, a rebound function.
        "class hf_bert:\n    def __init__(self, **k): self.__dict__.update(k)\n    def run(self): return self.unknown()",
        "class hf_bert:\n    def __init__(self, k): vars(self).update(k)\n    def run(self): return self.unknown()",
        "class hf_bert:\n    def __getattr__(self, name): ...\n    def run(self): return self.unknown()",
        "from a import B\nclass hf_bert(B):\n    def run(self): return self.unknown()",
        "class hf_bert:\n    def run(self): return self.unknown()\nhf_bert.unknown = print",
        "class hf_bert:\n    def run(self): return hasattr(self, 'unknown') and self.unknown()",
        "from a import b\n@b\ndef f(x): ...\nclass hf_bert:\n    def run(self): return f()",
        "def f(x): ...\nf = print\nclass hf_bert:\n    def run(self): return f()",
        "def f(x): ...\nclass hf_bert:\n    def run(self, f): return f()",
        "def f(x): ...\nclass hf_bert:\n    def run(self): return [f() for f in self.all]",
        "def f(x): ...\nclass hf_bert:\n    def run(self): return map(lambda f: f(), self.all)",
        "class hf_bert:\n    def run(self, *a, **k): return self.go(*a, **k)\n    def go(self, x, y): ...",
        "class hf_bert:\n    def __init__(self, go): self.go = go\n    def run(self): self.go(1)\n    def go(self): ...",
        "class hf_bert:\n    @property\n    def go(self): return print\n    def run(self): return self.go(1, 2)",
        "class hf_bert:\n    def run(self, model): return self.go(model, 'name')\n    def go(self, endpoint, model): ...",
        "class hf_bert:\n    def run(self, endpoint): self.go(model_id=endpoint)\n    def go(self, model_id, endpoint=1): ...",
        "class hf_bert:\n    def run(self, a, b): self.go(a=b, b=a)\n    def go(self, a, b): ...",
        "globals().update(a=1)\nclass hf_bert:\n    def run(self): return a",
        "from a import *\nclass hf_bert:\n    def run(self): return unknown",
        "from __future__ import annotations\nclass hf_bert:\n    def run(self, x: torch.Tensor) -> Unknown: ...",
    ],
)
def test_what_cannot_be_known_is_no_finding(tmp_path: Path, body: str) -> None:
    assert failing(check(tmp_path, body)) == []


def test_two_that_have_changed_places_by_keyword(tmp_path: Path) -> None:
    body = "class hf_bert:\n    def run(self, endpoint, tokenizer): self.go(endpoint=tokenizer, tokenizer=endpoint)\n"
    (finding,) = failing(check(tmp_path, body + "    def go(self, endpoint, tokenizer): ..."))
    assert "in the wrong places: endpoint gets tokenizer, while tokenizer gets endpoint; " in finding.says


def test_names_of_a_kind_that_have_changed_places_are_a_note(tmp_path: Path) -> None:
    body = "class hf_bert:\n    def run(self, a, b): return self.like(a, b) + self.like(b, a)\n    def like(self, a, b): ..."
    (finding,) = check(tmp_path, body)
    assert finding.note
    assert "a gets b, while b gets a" in finding.says


def test_a_file_that_does_not_parse_is_left_to_the_loading(tmp_path: Path) -> None:
    assert check(tmp_path, "class hf_bert:\n    def f(:") == []
