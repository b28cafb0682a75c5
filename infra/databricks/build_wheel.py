# ruff: noqa: INP001 -- The folder of a bundle, which is no package.
"""The wheel for Databricks: `transforms` and the nouns of `shared.domain`.

`python build_wheel.py [FOLDER]` writes it into `dist`. It is pure Python, so it is only a zip file
with three lists in it; its version is a digest of what it holds, so the same sources are the same
wheel and a change is never mistaken for what a cluster has installed before.
"""

from __future__ import annotations

import base64
import hashlib
import json
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NAME = "millrace_transforms"
_EPOCH = (1980, 1, 1, 0, 0, 0)  # The oldest time a zip file knows: the bytes depend on no clock.


def sources() -> dict[str, bytes]:
    """Path within the wheel to content."""
    paths = [ROOT / "shared/__init__.py", *(ROOT / "shared/domain").glob("*.py")]
    paths += (ROOT / "transforms").rglob("*.py")
    paths += (ROOT / "transforms").rglob("*.sql")
    return {path.relative_to(ROOT).as_posix(): path.read_bytes() for path in sorted(paths)}


def entry_points() -> str:
    """Each job of the document that is no notebook, by its name."""
    jobs = json.loads((ROOT / "pipeline.json").read_text()).get("databricks", {}).get("jobs")
    jobs = jobs or [{"name": "transform", "entryPoint": "transforms.job:main"}]
    lines = [f"{job['name']} = {job['entryPoint']}" for job in jobs if "entryPoint" in job]
    return "\n".join(("[console_scripts]", *lines, ""))


def requirements() -> list[str]:
    """What it needs that a Databricks runtime does not bring, pinned as everywhere else."""
    pinned = (ROOT / "requirements.txt").read_text().splitlines()
    return [line for line in pinned if line.startswith("pydantic==")]


def build(folder: Path) -> Path:
    """Write the wheel, in place of any older one, and return its path."""
    files = sources()
    digest = hashlib.sha256(entry_points().encode())
    for name, content in files.items():
        digest.update(f"{name}\n{len(content)}\n".encode() + content)
    version = f"0.1.0+{digest.hexdigest()[:12]}"
    about = f"{NAME}-{version}.dist-info"
    needs = "".join(f"Requires-Dist: {each}\n" for each in requirements())
    metadata = f"Metadata-Version: 2.1\nName: {NAME}\nVersion: {version}\n{needs}"
    files[f"{about}/METADATA"] = f"{metadata}Requires-Python: >=3.12\n".encode()
    files[f"{about}/WHEEL"] = (
        b"Wheel-Version: 1.0\nGenerator: millrace\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    )
    files[f"{about}/entry_points.txt"] = entry_points().encode()
    files[f"{about}/RECORD"] = _record(files, f"{about}/RECORD")
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob(f"{NAME}-*.whl"):
        old.unlink()
    path = folder / f"{NAME}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:
        for name, content in files.items():
            wheel.writestr(zipfile.ZipInfo(name, date_time=_EPOCH), content)
    return path


def _record(files: dict[str, bytes], own: str) -> bytes:
    """The list of files with their digests, as installers check it."""
    lines = []
    for name, content in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        lines.append(f"{name},sha256={digest},{len(content)}")
    return "\n".join((*lines, f"{own},,", "")).encode()


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "dist"
    sys.stdout.write(f"{build(target)}\n")
