"""Queries of Log Analytics, as far as names in them can be checked without the service."""

from __future__ import annotations

import re
from dataclasses import dataclass

#: Tables that the queries may read, with the columns they have (Azure Monitor's table reference).
TABLES = {
    "AppMetrics": {
        "AppRoleInstance",
        "AppRoleName",
        "ItemCount",
        "Max",
        "Min",
        "Name",
        "Properties",
        "Sum",
        "TimeGenerated",
    },
}
_OPERATORS = {
    "and", "arg_max", "asc", "between", "bin", "by", "datatable", "desc", "distinct", "extend",
    "in", "join", "kind", "leftouter", "let", "not", "on", "or", "order", "project", "render",
    "sort", "summarize", "timechart", "union", "where",
}  # fmt: skip
_FUNCTIONS = {
    "ago", "case", "coalesce", "count", "countif", "datetime_diff", "iff", "isnull", "max", "maxif",
    "min", "now", "split", "strcat", "sum", "sumif", "todouble", "toint", "tostring",
}  # fmt: skip
_TYPES = {"real", "string"}
_TEXT = re.compile(r"\"[^\"]*\"|'[^']*'")
_COMMENT = re.compile(r"^\s*//.*$", re.MULTILINE)
_WORD = re.compile(r"(?<![\w.])[A-Za-z_]\w*")
_NAMED = re.compile(r"(?:^|[,(|]|\b(?:extend|project|summarize|let|by)\s)\s*(\w+)\s*=(?!=)")
_LISTED = re.compile(r"datatable\(([^)]*)\)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """A query without its comments; `metrics` and `attributes` are the texts that name those."""

    text: str

    @property
    def bare(self) -> str:
        """The query without what stands in quotes."""
        return _TEXT.sub('""', self.text)

    @property
    def metrics(self) -> set[str]:
        """Names of metrics it asks for."""
        return set(re.findall(r"\"(millrace\.[\w.]+)\"", self.text)) - self.attributes

    @property
    def attributes(self) -> set[str]:
        """Attributes it looks up."""
        return set(re.findall(r"Properties\[\"([\w.]+)\"\]", self.text))

    @property
    def results(self) -> list[str]:
        """The columns that come out, where the last step is a projection."""
        *_, last = self.bare.strip().split("\n| ")
        if not last.startswith("project "):
            return []
        parts = re.split(r",\s*(?![^(]*\))", last.removeprefix("project "))
        return [part.partition("=")[0].strip() for part in parts]

    def unknown(self) -> set[str]:
        """Words that are neither the language's, nor a table's or its columns', nor made here."""
        made = set(_NAMED.findall(self.bare))
        made |= {
            each.partition(":")[0].strip()
            for found in _LISTED.findall(self.bare)
            for each in found.split(",")
        }
        known = _OPERATORS | _FUNCTIONS | _TYPES | made
        for table, columns in TABLES.items():
            if re.search(rf"\b{table}\b", self.bare):
                known |= {table} | columns
        return {word for word in _WORD.findall(self.bare) if word not in known}


def query_of(text: str) -> Query:
    """Read a query; its placeholders must have been filled."""
    assert "{{" not in text, "a placeholder is not filled"
    return Query(text=_COMMENT.sub("", text).strip())
