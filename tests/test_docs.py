"""The documentation says what the code says."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest

from pytest_ipfs_accelerate import fixtures, hookspecs
from pytest_ipfs_accelerate.builtin import HARDWARE, TASKS
from pytest_ipfs_accelerate.matrix import mark_name
from pytest_ipfs_accelerate.options import OPTIONS, Option
from pytest_ipfs_accelerate.parity import BY_PRECISION, TOLERANCES
from pytest_ipfs_accelerate.plan import register_marks
from pytest_ipfs_accelerate.settings import STAGE_SECONDS
from pytest_ipfs_accelerate.verdict import Implementation, Outcome, Stage

ROOT = Path(__file__).parents[1]
REFERENCE = (ROOT / "docs/reference.md").read_text("utf-8")
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])

SET_UP = [
    "python3 -m venv .venv && .venv/bin/pip install -c constraints.txt ."
    " && .venv/bin/pytest --ipfs-models=bert,vit,whisper,llava",
    "python3 -m venv .venv && .venv/bin/pip install -c constraints.txt -e '.[test]' && .venv/bin/pytest -n 2",
]


def section(text: str, title: str) -> str:
    """What stands under a heading, up to the next one of its level or above."""
    found = re.search(rf"^(#+) {re.escape(title)}\n", text, re.MULTILINE)
    assert found, title
    rest = text[found.end() :]
    end = re.search(rf"^#{{1,{len(found[1])}}} ", rest, re.MULTILINE)
    return rest[: end.start()] if end else rest


def rows(text: str) -> list[list[str]]:
    """The cells of every table row, heads and rules left out."""
    lines = re.findall(r"^\|(.+)\|$", text, re.MULTILINE)
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)] for line in lines]
    rules = {index for index, row in enumerate(cells) if set("".join(row)) == {"-"}}
    return [row for index, row in enumerate(cells) if index not in rules and index + 1 not in rules]


def first_cells(title: str) -> set[str]:
    """The names in backticks in the first column of the tables under a heading of the reference."""
    return {name for row in rows(section(REFERENCE, title)) for name in re.findall(r"`([^`]+)`", row[0])}


def test_the_schema_is_current() -> None:
    schema = runpy.run_path(str(ROOT / "docs/schema.py"))["schema"]()
    text = (ROOT / "docs/verdict.schema.json").read_text("utf-8")
    assert text == schema, "run: python docs/schema.py"


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
def test_every_option_has_its_row(option: Option) -> None:
    table = {re.split("[=`]", row[0].strip("`"))[0]: row for row in rows(section(REFERENCE, "Options"))}
    flag, key, variable, default, meaning = table[option.flag]
    expected = (f"`{option.dest}`", f"`{option.variable}`") if option.ini else ("–", "–")
    assert (key, variable) == expected
    assert flag == (f"`{option.flag}={option.metavar}`" if option.metavar else f"`{option.flag}`").replace("|", r"\|")
    assert default
    assert meaning


def test_no_option_that_is_none() -> None:
    known = {option.flag for option in OPTIONS}
    for page in PAGES:
        named = {word.rstrip("-") for word in re.findall(r"--ipfs-[a-z-]+", page.read_text("utf-8"))}
        assert named <= known, page.name


def test_the_limits_of_the_stages() -> None:
    table = section(REFERENCE, "Options").partition("Default limits")[2]
    names, _, seconds = re.findall(r"^\|(.+)\|$", table, re.MULTILINE)[:3]
    found = {name.strip(" `"): float(limit) for name, limit in zip(names.split("|"), seconds.split("|"), strict=True)}
    assert found == {stage.value: limit for stage, limit in STAGE_SECONDS.items()}


def test_every_hook() -> None:
    hooks = {name for name in vars(hookspecs) if name.startswith("pytest_ipfs_")}
    assert {name.partition("(")[0] for name in first_cells("Hooks")} == hooks
    assert "pytest_ipfs_hardware" in hooks


def test_every_fixture() -> None:
    found = {name for name, value in vars(fixtures).items() if type(value).__name__ == "FixtureFunctionDefinition"}
    assert found <= first_cells("Fixtures")
    assert "ipfs_case" in found


def test_every_mark() -> None:
    lines: list[str] = []
    config = SimpleNamespace(addinivalue_line=lambda name, line: lines.append(line))
    register_marks(config, SimpleNamespace(hardware=HARDWARE, all_tasks=lambda: TASKS))  # type: ignore[arg-type]
    marks = {line.partition(":")[0] for line in lines}
    documented = set(re.findall(r"`([^`]+)`", section(REFERENCE, "Marks")))
    assert marks <= documented
    assert "ipfs_cases(models, tasks, hardware)" in marks


def test_every_task_has_its_row() -> None:
    expected = {
        f"| `{name}` | `{mark_name(name)}` | {', '.join(f'`{alias}`' for alias in spec.aliases) or '–'} | {spec.summary} |"
        for name, spec in TASKS.items()
    }
    found = {line for line in section(REFERENCE, "Marks").splitlines() if line.count("|") == 5}
    found = {line for line in found if not line.startswith(("| Task", "| ---"))}
    assert found == expected


@pytest.mark.parametrize("words", [Outcome, Stage, Implementation])
def test_every_word_of_a_verdict(words: type[Outcome] | type[Stage] | type[Implementation]) -> None:
    assert {word.value for word in words} <= first_cells("Outcomes, stages, implementations")


def test_the_hardware_of_the_readme() -> None:
    table = rows(section((ROOT / "README.md").read_text("utf-8"), "Hardware"))
    assert [row[0].removesuffix(" (optional)").strip("`") for row in table] == list(HARDWARE)


def test_the_tolerances() -> None:
    expected = {(f"`{hardware}`", precision): bound for (hardware, precision), bound in TOLERANCES.items()}
    expected |= {("any other", precision): bound for precision, bound in BY_PRECISION.items()}
    table = rows(section((ROOT / "docs/verdict.md").read_text("utf-8"), "Tolerances"))
    found = {(row[0], row[1]): (float(row[2]), float(row[3]), row[4]) for row in table}
    assert found == {key: (bound.relative_l2, bound.max_abs, bound.source) for key, bound in expected.items()}


def test_the_two_lines_of_the_readme() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    assert re.findall(r"^```sh\n(.*)\n```$", section(text, "Set-up"), re.MULTILINE) == SET_UP
    assert text.count("python3 -m venv") == len(SET_UP)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target, _, anchor in re.findall(r"\]\(([^)#:]*)(#([^)]*))?\)", page.read_text("utf-8")):
        file = page.parent / target if target else page
        assert file.exists(), target
        if anchor:
            titles = re.findall(r"^#+ (.+)$", file.read_text("utf-8"), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles}
