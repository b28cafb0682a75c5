"""The functions of Bicep that our templates call, as far as they call them."""

from __future__ import annotations

import base64
import functools
import hashlib
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

SUBSCRIPTION = "00000000-0000-0000-0000-000000000000"
LOCATION = "westeurope"
GROUP = "the-group"


class Later(str):
    """What only the service knows, as the path it is read by; its parts are known later too."""

    __slots__ = ()

    def part(self, name: str) -> Later:
        """A property of it."""
        return Later(f"{self[:-1]}.{name}>")


def later(path: str) -> Later:
    """A value that is known once the resource exists."""
    return Later(f"<{path}>")


def _token(*parts: object) -> str:
    """Stands for `uniqueString` and `guid`: the same of the same, else another."""
    return hashlib.sha256("\n".join(map(str, parts)).encode()).hexdigest()


def _guid(*parts: object) -> str:
    digest = _token(*parts)
    return "-".join((digest[:8], digest[8:12], digest[12:16], digest[16:20], digest[20:32]))


def _union(first: Any, *others: Any) -> Any:
    if isinstance(first, dict):
        merged = dict(first)
        for other in others:
            for key, value in other.items():
                both = isinstance(value, dict) and isinstance(merged.get(key), dict)
                merged[key] = _union(merged[key], value) if both else value
        return merged
    found: list[Any] = []
    for each in (item for part in (first, *others) for item in part):
        if each not in found:
            found.append(each)
    return found


def _to_object(
    items: Sequence[Any], key: Callable[[Any], str], value: Callable[[Any], Any] = lambda item: item
) -> dict[str, Any]:
    return {key(item): value(item) for item in items}


def _contains(whole: Any, part: Any) -> bool:
    return part in whole


def _string(value: Any) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _date_time_add(base: str, duration: str) -> str:
    """Add an ISO 8601 duration of days and times, which is all that the service knows of them."""
    assert duration.startswith("P"), f"{duration!r} is not ISO 8601"
    moment = datetime.fromisoformat(base) + TypeAdapter(timedelta).validate_python(duration)
    return moment.astimezone(UTC).isoformat()


def _resource_id(*parts: str) -> str:
    """Of a resource: subscription and group may stand before its type."""
    kind = next(at for at, part in enumerate(parts) if "/" in part)
    group = parts[kind - 1] if kind else GROUP
    return f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{group}/providers/" + _path(parts[kind:])


def _path(parts: Sequence[str]) -> str:
    provider, *kinds = parts[0].split("/")
    steps = [step for pair in zip(kinds, parts[1:], strict=True) for step in pair]
    return "/".join((provider, *steps))


def _flatten(lists: Iterable[Iterable[Any]]) -> list[Any]:
    return [item for each in lists for item in each]


def _reduce(items: Sequence[Any], start: Any, step: Callable[[Any, Any], Any]) -> Any:
    return functools.reduce(step, items, start)


def _cidr_subnet(whole: str, prefix: int, index: int) -> str:
    return f"{whole}[/{prefix}#{index}]"


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "any": lambda value: value,
    "bool": lambda value: value == "true",
    "cidrSubnet": _cidr_subnet,
    "concat": lambda *lists: _flatten(lists),
    "contains": _contains,
    "dateTimeAdd": _date_time_add,
    "dateTimeToEpoch": lambda moment: int(datetime.fromisoformat(moment).timestamp()),
    "deployment": lambda: {"location": LOCATION, "name": "main"},
    "empty": lambda value: not value,
    "environment": lambda: {
        "suffixes": {"storage": "core.windows.net", "keyvaultDns": ".vault.azure.net"}
    },
    "filter": lambda items, keep: [item for item in items if keep(item)],
    "first": lambda whole: whole[0],
    "flatten": _flatten,
    "guid": _guid,
    "indexOf": lambda whole, part: whole.index(part),
    "items": lambda whole: [{"key": key, "value": whole[key]} for key in sorted(whole)],
    "join": lambda items, sign: sign.join(items),
    "json": json.loads,
    "last": lambda whole: whole[-1],
    "length": len,
    "listKeys": lambda resource, _version: later(f"listKeys {resource}"),
    "map": lambda items, change: [change(item) for item in items],
    "max": max,
    "min": min,
    "range": lambda start, count: list(range(start, start + count)),
    "reduce": _reduce,
    "replace": lambda text, old, new: text.replace(old, new),
    "resourceGroup": lambda: {
        "id": f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{GROUP}",
        "location": LOCATION,
        "name": GROUP,
    },
    "resourceId": _resource_id,
    "split": lambda text, sign: text.split(sign),
    "startsWith": lambda text, start: text.startswith(start),
    "string": _string,
    "subscription": lambda: {
        "id": f"/subscriptions/{SUBSCRIPTION}",
        "subscriptionId": SUBSCRIPTION,
    },
    "subscriptionResourceId": lambda *parts: (
        f"/subscriptions/{SUBSCRIPTION}/providers/{_path(parts)}"
    ),
    "substring": lambda text, start, count: text[start : start + count],
    "take": lambda whole, count: whole[: max(count, 0)],
    "tenant": lambda: {"tenantId": "11111111-1111-1111-1111-111111111111"},
    "toLower": str.lower,
    "toObject": _to_object,
    "union": _union,
    "uniqueString": lambda *parts: base64.b32encode(_token(*parts).encode()).decode()[:13].lower(),
}
