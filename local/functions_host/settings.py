"""The app's settings and host.json, as the host reads them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from local import azurite_process
from local.functions_host.errors import FunctionBroken, HostError

if TYPE_CHECKING:
    from pathlib import Path

_REFERENCE = re.compile(r"%([^%]+)%")
_TIME_SPAN = re.compile(r"^(?:(\d+)\.)?(\d{1,2}):(\d{2})(?::(\d{2}(?:\.\d+)?))?$")
_HOST_PREFIX = "azurefunctionsjobhost__"
_HOST_ID_LENGTH_MAX = 32
_AZURITE_PORTS = {"blob": 10000, "queue": 10001, "table": 10002}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The environment and host.json of one app."""

    values: Mapping[str, str]
    host: Mapping[str, Any]
    host_id: str

    def resolve(self, text: str) -> str:
        """Fill in each `%NAME%`; raise `FunctionBroken` naming the one that is not set."""

        def value(match: re.Match[str]) -> str:
            if match[1] not in self.values:
                raise FunctionBroken(f"the setting {match[1]} is not set, but a binding uses it")
            return self.values[match[1]]

        return _REFERENCE.sub(value, text)

    def option(self, path: str, default: Any) -> Any:  # noqa: ANN401 -- JSON is anything.
        """A value of host.json by dotted path, in any case, or the default."""
        node: Any = self.host
        for step in path.lower().split("."):
            node = node.get(step) if isinstance(node, Mapping) else None
        return default if node is None else node

    def whole_number(self, path: str, default: int) -> int:
        """A whole number of host.json; raise `HostError` naming the option if it is none."""
        found = self.option(path, default)
        try:
            return int(found)
        except (TypeError, ValueError):
            raise HostError(f"host.json: {path} is {found!r}, not a whole number") from None

    def duration_s(self, path: str, default: float) -> float:
        """A time span (`[d.]hh:mm:ss`) of host.json in seconds."""
        found = self.option(path, None)
        if found is None:
            return default
        match = _TIME_SPAN.match(str(found))
        if match is None:
            raise HostError(f"host.json: {path} is {found!r}, not a time span like 00:01:00")
        days, hours, minutes, seconds = (float(part or 0) for part in match.groups())
        return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds).total_seconds()

    def seconds(self, name: str, default: float) -> float:
        """A setting of this host that is a number of seconds."""
        found = self.values.get(name, default)
        try:
            return float(found)
        except ValueError:
            raise HostError(f"{name} is {found!r}, not a number of seconds") from None

    def is_disabled(self, function: str) -> bool:
        """Whether a setting switches the function off."""
        names = (f"AzureWebJobs.{function}.Disabled", f"AzureWebJobs_{function}_Disabled")
        return any(self.values.get(name, "").lower() in {"true", "1"} for name in names)

    def connection_text(self, name: str) -> str | None:
        """The connection string of a connection, if it has one."""
        text = self.values.get(f"AzureWebJobs{name}") or self.values.get(name)
        # Not every SDK knows this short form.
        is_short = text is not None and text.strip("; ").lower() == "usedevelopmentstorage=true"
        return azurite_process.connection_string(**_AZURITE_PORTS) if is_short else text

    def connection_part(self, name: str, part: str) -> str | None:
        """A part of an identity-based connection, such as `fullyQualifiedNamespace`."""
        return self.values.get(f"AzureWebJobs{name}__{part}") or self.values.get(f"{name}__{part}")


def load(*, app: Path, environment: Mapping[str, str], machine: str) -> Settings:
    """Read host.json of an app folder; raise `HostError` if it is absent or no JSON object."""
    path = app / "host.json"
    try:
        host = json.loads(path.read_bytes())
    except OSError as error:
        raise HostError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise HostError(f"{path} is not JSON: {error}") from error
    if not isinstance(host, dict):
        raise HostError(f"{path} is not a JSON object")
    host = _lower_keys(host)
    for name, value in environment.items():
        if name.lower().startswith(_HOST_PREFIX):
            _override(host, name.lower().removeprefix(_HOST_PREFIX).split("__"), value)
    host_id = environment.get("AzureFunctionsWebHost__hostid") or default_host_id(machine, app)
    return Settings(values=environment, host=host, host_id=host_id.lower())


def local_values(path: Path) -> dict[str, str]:
    """The `Values` of a local.settings.json; raise `HostError` if there are none."""
    try:
        values = json.loads(path.read_bytes())["Values"]
    except OSError as error:
        raise HostError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise HostError(f"{path} has no JSON object with `Values`") from error
    return {str(name): str(value) for name, value in values.items()}


def default_host_id(machine: str, app: Path) -> str:
    """The id `func` gives an app in a folder, so that both find the same state."""
    digest = 23
    for character in str(app):
        digest = (digest * 31 + ord(character)) & 0xFFFFFFFF
    signed = digest - 2**32 if digest >= 2**31 else digest
    letters = "".join(filter(str.isalnum, machine.partition(".")[0]))
    return f"{letters}-{abs(signed)}"[:_HOST_ID_LENGTH_MAX].lower().rstrip("-")


def _lower_keys(node: Any) -> Any:  # noqa: ANN401 -- JSON is anything.
    if isinstance(node, dict):
        return {key.lower(): _lower_keys(value) for key, value in node.items()}
    return node


def _override(node: dict[str, Any], path: list[str], value: str) -> None:
    for step in path[:-1]:
        child = node.setdefault(step, {})
        if not isinstance(child, dict):
            return
        node = child
    node[path[-1]] = value
