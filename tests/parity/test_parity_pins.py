"""The pins of the other environment: the same versions as everywhere else."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]
#: What only the JVM's package brings along; otherwise it is the client's version.
OWN = {"py4j", "pyspark"}


def test_parity_has_the_versions_of_everything_else() -> None:
    """A difference between two versions of a library would look like one between the engines."""
    ours = _pins("requirements.txt") | _pins("requirements-dev.txt")

    found = _pins("requirements-parity.txt")

    assert found["pyspark"] == ours["pyspark-client"]
    assert {name: version for name, version in found.items() if name not in OWN} == {
        name: ours[name] for name in found.keys() - OWN
    }


def _pins(name: str) -> dict[str, str]:
    lines = (ROOT / name).read_text().splitlines()
    return dict(line.split("==") for line in lines if "==" in line and not line.startswith("#"))
