"""Route templates of HTTP functions, as ASP.NET reads them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote

from local.functions_host.errors import NotEmulated

_PARAMETER = re.compile(
    r"^\{(?P<rest>\*{0,2})(?P<name>\w+)(?::(?P<kind>\w+))?(?:(?P<optional>\?)|=(?P<default>.*))?\}$"
)
_KINDS = {
    None: "[^/]+",
    "int": r"-?\d+",
    "long": r"-?\d+",
    "alpha": "[A-Za-z]+",
    "bool": "(?i:true|false)",
    "guid": "[0-9a-fA-F]{8}(?:-?[0-9a-fA-F]{4}){3}-?[0-9a-fA-F]{12}",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One template; `rank` orders templates so that literals win over parameters."""

    template: str
    methods: frozenset[str]
    rank: tuple[int, ...]
    pattern: re.Pattern[str]
    defaults: dict[str, str]

    def match(self, method: str, path: str) -> dict[str, str] | None:
        """The parameters of a raw path (percent-encoded, no slash around it), or none."""
        found = self.pattern.fullmatch(path)
        if found is None or (self.methods and method not in self.methods):
            return None
        given = {name: unquote(value) for name, value in found.groupdict().items() if value}
        return self.defaults | given


def parse(template: str, methods: list[str]) -> Route:
    """Read a template; raise `NotEmulated` for the parts of the language that are missing here."""
    pattern = ""
    rank: list[int] = []
    defaults: dict[str, str] = {}
    for segment in template.strip("/").split("/"):
        slash = "/" if rank else ""
        if "{" not in segment:
            pattern += slash + re.escape(segment)
            rank.append(0)
            continue
        match = _PARAMETER.match(segment)
        if match is None or (not match["rest"] and match["kind"] not in _KINDS):
            raise NotEmulated(f"the route segment {segment!r} of {template!r} is not emulated")
        value = f"(?P<{match['name']}>{'.*' if match['rest'] else _KINDS[match['kind']]})"
        if match["default"] is not None:
            defaults[match["name"]] = match["default"]
        may_be_absent = match["optional"] or match["rest"] or match["default"] is not None
        pattern += f"(?:{slash}{value})?" if may_be_absent else slash + value
        rank.append(3 if match["rest"] else 1 if match["kind"] else 2)
    return Route(
        template=template,
        methods=frozenset(method.upper() for method in methods),
        rank=tuple(rank),
        pattern=re.compile(pattern, re.IGNORECASE),
        defaults=defaults,
    )
