"""The project: what is documented, how large things are, and that it stands alone."""

from __future__ import annotations

import ast
import json
import re
import subprocess
from pathlib import Path

import pytest
from typer.main import get_command

from cli.__main__ import commands
from shared import settings

ROOT = Path(__file__).parents[2]
PRODUCT = ("functions", "shared", "transforms", "local", "cli")
MODULES = [path for folder in PRODUCT for path in (ROOT / folder).rglob("*.py")]
MODULES = [path for path in MODULES if "node_modules" not in path.parts]


def tracked() -> list[Path]:
    """Text files of the repository."""
    listed = subprocess.run(
        ["git", "ls-files"],  # noqa: S607 -- Whichever git there is.
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [ROOT / line for line in listed.stdout.splitlines() if not line.endswith((".gz",))]


def documents() -> str:
    """README and everything below docs."""
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return "\n".join(page.read_text() for page in pages)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_module_is_small_and_says_what_it_is(path: Path) -> None:
    """A module is one noun, one arrow or one system; a function fits on a screen."""
    text = path.read_text()
    tree = ast.parse(text)
    functions = [
        node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]

    too_long = [node.name for node in functions if _lines(node) > 60]

    assert ast.get_docstring(tree), "a module opens with one sentence"
    assert len(text.splitlines()) <= 420, "a module is one thing"
    assert not too_long, "a function fits on a screen"


def _lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    assert node.end_lineno is not None
    return node.end_lineno - node.lineno + 1 - len((ast.get_docstring(node) or "").splitlines())


def test_every_setting_is_in_the_example_and_in_the_docs() -> None:
    """A setting nobody can find is a trap."""
    source = (ROOT / "shared/settings.py").read_text()
    triggers = "".join(path.read_text() for path in (ROOT / "functions").glob("*.py"))
    names = set(re.findall(r'(?:value|get)\("([A-Z][A-Za-z_]+)"', source))
    names |= set(re.findall(r"%([A-Z_]+)%", triggers))
    example = json.loads((ROOT / "local.settings.json.example").read_text())["Values"]
    text = documents()

    assert names
    assert names <= set(example)
    assert not {name for name in example if f"`{name}`" not in text}


def test_every_command_has_help_and_is_documented() -> None:
    """The command line is the product's face."""
    group = get_command(commands)
    text = documents()

    found = dict(getattr(group, "commands", {}))

    assert found
    for name, command in found.items():
        assert command.help, f"{name} has no help"
        assert f"millrace {name}" in text, f"{name} is not documented"


def test_project_stands_alone() -> None:
    """Whoever clones it has only what is in it."""
    foreign = re.compile(r"\.\./shared|/work/|\.library")
    here = Path(__file__)

    named = [
        str(path.relative_to(ROOT))
        for path in tracked()
        if path != here and path.is_file() and foreign.search(path.read_text(errors="replace"))
    ]

    assert not named


def test_readme_is_short_and_its_links_lead_somewhere() -> None:
    """The first thing anybody reads."""
    text = (ROOT / "README.md").read_text()
    links = re.findall(r"\]\((?!http)([^)#]+)", text)

    assert len(text.splitlines()) <= 80
    assert links
    assert not [link for link in links if not (ROOT / link).exists()]


def test_settings_read_from_an_empty_environment() -> None:
    """Nothing is needed before it is used."""
    found = settings.Settings.read({})

    assert found.pipeline_file == ROOT / "pipeline.json"
