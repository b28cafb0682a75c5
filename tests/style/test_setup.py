"""What a newcomer's machine needs: pins, the search for Python, the command, the make targets."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import distribution, version
from pathlib import Path, PurePath

import pathspec
import pytest

ROOT = Path(__file__).parents[2]
APP = [ROOT / "function_app.py", *ROOT.glob("functions/*.py"), *ROOT.glob("shared/**/*.py")]
SOURCES = (".py", ".so")
PYTHON = getattr(sys, "_base_executable", sys.executable)


def pins(name: str) -> dict[str, str]:
    """Package to version, as a requirements file pins them."""
    lines = (ROOT / name).read_text().splitlines()
    chosen = [line for line in lines if not line.startswith(("#", "-r "))]
    assert all(re.fullmatch(r"[a-z0-9-]+==[^\s;]+", line) for line in chosen), "not pinned"
    return dict(line.split("==") for line in chosen)


def imported(path: Path) -> set[str]:
    """Modules of other projects that a module imports when it runs."""
    found = set()
    unread = list(ast.parse(path.read_text()).body)
    while unread:
        node = unread.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        unread += [child for child in ast.iter_child_nodes(node) if isinstance(child, ast.stmt)]
    own = sys.stdlib_module_names | {"functions", "shared"}
    return {name for name in found if name.split(".")[0] not in own}


def modules(name: str) -> set[str]:
    """Every module that an installed package brings, and the namespaces they are in."""
    paths = [PurePath(path) for path in distribution(name).files or [] if path.suffix in SOURCES]
    found = [path.parent / path.name.split(".")[0] for path in paths]
    found += [parent for path in found for parent in path.parents]
    return {".".join(path.parts) for path in found}


def find_python(home: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Ask the setup which Python it would use, in an otherwise empty environment."""
    return subprocess.run(
        ["/bin/sh", "local/setup.sh", "--python"], cwd=ROOT, capture_output=True, text=True,
        env={"PATH": os.defpath, "HOME": str(home), **environment}, check=False,
    )  # fmt: skip


def put(path: Path, script: str) -> None:
    """Make a program of a shell script."""
    path.parent.mkdir(parents=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_tests_run_with_the_pinned_versions() -> None:
    """A pin that nothing ran with is a guess."""
    every = pins("requirements.txt") | pins("requirements-dev.txt")

    found = {name: version(name) for name in every}

    assert found == every


def test_development_adds_to_what_runs_in_azure_and_changes_nothing() -> None:
    """What is tested here has to be what runs there."""
    first = (ROOT / "requirements-dev.txt").read_text().splitlines()[1]

    both = pins("requirements.txt").keys() & pins("requirements-dev.txt").keys()

    assert first == "-r requirements.txt"
    assert not both


def test_function_app_is_deployed_with_what_it_imports() -> None:
    """One package that only the development set has makes every function vanish in Azure."""
    names = set().union(*map(imported, APP))

    missing = names - set().union(*map(modules, pins("requirements.txt")))

    assert names
    assert not missing


@pytest.mark.parametrize("heavy", ["databricks-sdk", "pyspark-client", "pandas", "grpcio"])
def test_function_app_stays_light(heavy: str) -> None:
    """Every cold start pays for every package."""
    assert heavy not in pins("requirements.txt")


def test_only_the_function_app_is_sent_to_azure() -> None:
    """The local stack and its data have no business in a deployment package."""
    ignored = pathspec.GitIgnoreSpec.from_lines((ROOT / ".funcignore").read_text().splitlines())
    git = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    files = subprocess.check_output(git, cwd=ROOT, text=True).splitlines()

    sent = {name.split("/")[0] for name in files if not ignored.match_file(name)}

    assert sent == {
        "function_app.py",
        "functions",
        "host.json",
        "pipeline.json",
        "requirements.txt",
        "shared",
    }


def test_python_on_the_path_that_does_not_run_is_passed_over(tmp_path: Path) -> None:
    """A shim of pyenv is on the path for every version, and fails for those not selected."""
    put(tmp_path / "shims" / "python3.13", "echo 'command not found' >&2; exit 127")
    put(tmp_path / ".pyenv/versions/3.13.9/bin/python3.13", f'exec "{PYTHON}" "$@"')

    found = find_python(tmp_path, PATH=f"{tmp_path}/shims:{os.defpath}")

    assert found.stderr == ""
    assert Path(found.stdout.strip()).samefile(PYTHON)


def test_python_of_another_name_is_found(tmp_path: Path) -> None:
    """Not every installation adds the version to the name."""
    put(tmp_path / "bin" / "python3", f'exec "{PYTHON}" "$@"')

    found = find_python(tmp_path, PATH=f"{tmp_path}/bin:{os.defpath}")

    assert Path(found.stdout.strip()).samefile(PYTHON)


def test_environment_is_built_on_what_lies_behind_another_environment(tmp_path: Path) -> None:
    """With the project's own environment activated, it would otherwise be built on itself."""
    found = find_python(tmp_path, PATH=f"{Path(sys.executable).parent}:{os.defpath}")

    assert Path(found.stdout.strip()).samefile(PYTHON)
    assert not found.stdout.startswith(str(ROOT))


def test_python_that_does_not_fit_is_one_line(tmp_path: Path) -> None:
    """Whoever names the wrong one wants to know which one that was."""
    found = find_python(tmp_path, PYTHON="/bin/false")

    assert found.returncode == 1
    assert found.stderr == "setup: PYTHON=/bin/false is not a Python 3.13\n"


def test_command_calls_what_the_project_declares() -> None:
    """The setup writes the command itself instead of having a build tool do it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    module, function = project["scripts"]["millrace"].split(":")

    setup = (ROOT / "local/setup.sh").read_text()

    assert f"\nfrom {module} import {function}\n\nsys.exit({function}())\n" in setup


def test_every_make_target_explains_itself() -> None:
    """`make` alone is how a newcomer finds out what there is."""
    text = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z]+):", text, re.MULTILINE)) - {"ready"}

    shown = subprocess.check_output(["make", "-C", str(ROOT)], text=True)  # noqa: S607 -- Any make.

    assert targets
    assert targets == set(re.findall(r"^  make ([a-z]+) +[A-Z].+\.$", shown, re.MULTILINE))


def test_make_runs_every_folder_of_tests() -> None:
    """Tests are listed by folder, for their order; none may be forgotten by that."""
    folders = {f"tests/{path.parent.name}" for path in ROOT.glob("tests/*/test_*.py")}

    command = subprocess.check_output(["make", "-nC", str(ROOT), "test"], text=True)  # noqa: S607

    assert folders <= set(command.split())
    assert not list(ROOT.glob("tests/test_*.py")), "a test has to be in a folder to be run"
