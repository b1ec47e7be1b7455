"""A class loads by import and from its file; what keeps it from that is named in the user's code; nothing is left behind."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_ipfs_accelerate.skillset.findings import Check, Finding
from pytest_ipfs_accelerate.skillset.foreign import loading
from pytest_ipfs_accelerate.skillset.foreign.discover import discover
from pytest_ipfs_accelerate.skillset.foreign.loading import Loaded, load
from pytest_ipfs_accelerate.specs import SkillSource

CLASS = "class hf_bert:\n    pass\n"


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    loading._restore()
    path, modules = list(sys.path), set(sys.modules)
    yield
    loading._restore()
    assert sys.path == path
    assert {name for name in set(sys.modules) - modules if "hf_bert" in name or "tools" in name} == set()


def source(base: Path, text: str = CLASS, name: str = "hf_bert.py") -> SkillSource:
    file = base / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return discover([str(base)], base, ["bert"]).skills["bert"].source


def failing(loaded: Loaded) -> list[Finding]:
    return [finding for finding in loaded.findings if not finding.note]


def test_a_class_alone(tmp_path: Path) -> None:
    loaded = load(source(tmp_path))
    assert loaded.cls is not None
    assert (loaded.cls.__module__, loaded.findings) == ("hf_bert", ())
    assert sys.modules["hf_bert"].hf_bert is loaded.cls


def test_each_load_is_fresh_and_undoes_the_last(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "one/tools.py").write_text("count = []")
    first = source(tmp_path / "one", "import tools\ntools.count.append(1)\nclass hf_bert:\n    count = tools.count\n")
    assert load(first).cls.count == load(first).cls.count == [1]  # type: ignore[union-attr]
    (tmp_path / "other").mkdir()
    loaded = load(source(tmp_path / "other", "import tools\n" + CLASS))
    assert str(tmp_path / "one") not in sys.path
    assert [finding.says.partition(": ")[2] for finding in failing(loaded)] == [
        "ModuleNotFoundError: No module named 'tools'"
    ]


def test_a_module_of_a_package_with_relative_imports(tmp_path: Path) -> None:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop/__init__.py").touch()
    (tmp_path / "shop/tools.py").write_text("def pool(): ...")
    where = source(tmp_path / "shop", "from .tools import pool\n" + CLASS)
    assert where.module == "shop.hf_bert"
    loaded = load(where)
    assert loaded.findings == ()
    assert loaded.cls is not None
    assert loaded.cls.__module__ == "shop.hf_bert"


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("import os\n\nraise RuntimeError('not today')\n" + CLASS, 3, "RuntimeError: not today"),
        ("def f():\n    return 1 / 0\nf()\n" + CLASS, 2, "ZeroDivisionError: division by zero"),
        ("import json\njson.loads('{')\n" + CLASS, 2, "JSONDecodeError: "),
        ("import a_module_that_is_not_there\n" + CLASS, 1, "No module named 'a_module_that_is_not_there'"),
        ("import sys\nsys.exit(3)\n" + CLASS, 2, "SystemExit: 3"),
        ("class hf_bert:\n    def f(:\n", 2, "SyntaxError: invalid syntax"),
        ("from .tools import pool\n" + CLASS, 1, "attempted relative import"),
        (CLASS + "del hf_bert\n", 1, "the module has no hf_bert"),
        (CLASS + "hf_bert = hf_bert()\n", 1, "hf_bert is of type hf_bert"),
    ],
)
def test_what_keeps_it_from_loading(tmp_path: Path, text: str, line: int, says: str) -> None:
    where = source(tmp_path, text)
    loaded = load(where)
    assert loaded.cls is None
    (finding,) = failing(loaded)
    assert (finding.check, finding.file, finding.line) == (Check.IMPORT, where.file, line)
    assert finding.says.startswith("hf_bert does not load by import or from its file: ")
    assert says in finding.says


def test_the_line_is_the_users_in_another_of_his_files(tmp_path: Path) -> None:
    (tmp_path / "tools.py").write_text("\n\nint('x')\n")
    (finding,) = failing(load(source(tmp_path, "import tools\n" + CLASS)))
    assert (finding.file, finding.line) == (str(tmp_path / "tools.py"), 3)


def test_only_one_way_leads_to_it(tmp_path: Path) -> None:
    loaded = load(source(tmp_path, name="hf-bert of mine.py"))
    assert loaded.cls is not None
    (finding,) = failing(loaded)
    assert (
        "does not load by import: ImportError: the name of 'hf-bert of mine.py' is no name of a module" in finding.says
    )
    loaded = load(source(tmp_path / "b", "if __name__ != 'hf_bert' or 'hf_bert' in globals():\n    oops\n" + CLASS))
    assert loaded.findings == ()


def test_another_module_of_its_name(tmp_path: Path) -> None:
    there = sys.modules["json"]
    loaded = load(source(tmp_path, name="json.py"))
    (finding,) = failing(loaded)
    assert loaded.cls is not None
    assert finding.says == f"hf_bert does not load by import: ImportError: import json gives {there.__file__}"
    assert sys.modules["json"] is there


def test_a_swallowed_import_is_a_note(tmp_path: Path) -> None:
    text = """\
try:
    import json
    import a_library_that_is_not_there.part as library
except ImportError:
    library = None
try:
    from .tools import pool
except Exception:
    pass
try:
    import another_one
except ImportError as error:
    raise RuntimeError("it is needed") from error if False else None
except ValueError:
    pass
"""
    where = source(tmp_path, text + CLASS)
    notes = [(finding.line, finding.says) for finding in load(where).findings if finding.note]
    assert notes == [
        (
            3,
            "the import of a_library_that_is_not_there.part fails here and is swallowed:"
            " import a_library_that_is_not_there.part as library",
        ),
        (7, "the import of .tools fails here and is swallowed: from .tools import pool"),
    ]


def test_what_is_installed_is_not_forgotten(tmp_path: Path) -> None:
    installed = tmp_path / "env/lib/site-packages"
    installed.mkdir(parents=True)
    (installed / "installed_tools.py").touch()
    text = f"import sys\nsys.path.append({str(installed)!r})\nimport installed_tools\n" + CLASS
    where = source(tmp_path, text)
    try:
        load(where)
        first = sys.modules["installed_tools"]
        assert load(where).findings == ()
        assert sys.modules["installed_tools"] is first
    finally:
        sys.modules.pop("installed_tools", None)
