"""The dataset: a table, which material it is made of, and what its columns must be."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from fractions import Fraction
from math import isfinite
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from shared.domain.fields import ColumnName, Name, Part, nearest
from shared.domain.text_pattern import portable
from shared.domain.watch import Period  # noqa: TC001 -- pydantic reads it at run time.

if TYPE_CHECKING:
    from collections.abc import Iterable

Scalar = bool | int | float | str

_TIMES = ("date", "timestamp")
_ORDERED = ("integer", "long", "double", "decimal", *_TIMES)
_DIGITS_MAX = 38  # The widest decimal of all engines.
_BITS = {"integer": 32, "long": 64}

#: What a table of versions has beside the dataset's own columns.
HISTORY_COLUMNS = ("validFrom", "validTo", "isCurrent")

ColumnType = Annotated[
    str,
    StringConstraints(
        pattern=r"^(string|integer|long|double|boolean|date|timestamp|json|"
        r"decimal\([1-9]\d?, ?\d{1,2}\))$"
    ),
]


class Column(Part):
    """A column of a dataset: where its value is in a record, and what it must be."""

    type: ColumnType
    path: str | None = Field(default=None, description="Dotted path; the column's name by default.")
    format: Literal["iso8601", "epochSeconds", "epochMilliseconds"] = Field(
        default="iso8601", description="How a timestamp or date is written in the record."
    )
    default: Scalar | None = Field(
        default=None, description="What stands for a value that the record does not have."
    )
    required: bool = Field(default=False, description="A record without it goes to quarantine.")
    min: Scalar | None = Field(default=None, description="The smallest value that is good.")
    max: Scalar | None = Field(default=None, description="The largest value that is good.")
    one_of: tuple[Scalar, ...] = Field(default=(), description="The only values that are good.")
    matches: str | None = Field(
        default=None, description="Regular expression that the whole text must match."
    )

    @property
    def kind(self) -> str:
        """The type without precision and scale."""
        return self.type.partition("(")[0]

    @property
    def digits(self) -> tuple[int, int]:
        """Of a decimal: how many digits it has, and how many of them after the point."""
        precision, scale = map(int, re.findall(r"\d+", self.type))
        return precision, scale

    @model_validator(mode="after")
    def _fits_the_type(self) -> Self:
        if self.kind == "decimal" and not _DIGITS_MAX >= self.digits[0] >= self.digits[1]:
            raise ValueError("a decimal has at most 38 digits, and no more after the point")
        if self.path is not None and "" in self.path.split("."):
            raise ValueError(f"path {self.path!r} has an empty step")
        if self.format != "iso8601" and self.kind not in _TIMES:
            raise ValueError(f"format is for dates and timestamps, not for a {self.kind}")
        if (self.min is not None or self.max is not None) and self.kind not in _ORDERED:
            raise ValueError(f"min and max are for numbers and times, not for a {self.kind}")
        if self.one_of and self.kind == "json":
            raise ValueError("oneOf is not for json: two of the same need not look the same")
        for value in filter(
            lambda value: value is not None, (self.default, self.min, self.max, *self.one_of)
        ):
            self._check_value(value)
        return self

    @model_validator(mode="after")
    def _matches_on_every_engine(self) -> Self:
        if self.matches is None:
            return self
        if self.kind != "string":
            raise ValueError(f"matches is for a string, not for a {self.kind}")
        try:
            portable(self.matches)
        except ValueError as error:
            raise ValueError(f"matches {error}") from error
        return self

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        low, high, default = (
            None if value is None else self._comparable(value)
            for value in (self.min, self.max, self.default)
        )
        if low is not None and high is not None and low > high:
            raise ValueError("min is greater than max: no value is good")
        if default is None:
            return self
        if (
            (low is not None and default < low)
            or (high is not None and default > high)
            or (self.one_of and default not in map(self._comparable, self.one_of))
            or (self.matches and not re.fullmatch(self.matches, str(default), re.ASCII))
        ):
            raise ValueError(f"default {self.default!r} is not good by the column's own checks")
        return self

    def _comparable(self, value: Scalar) -> Any:  # noqa: ANN401 -- What the type makes of it.
        """The value as something that Python compares as the engines do."""
        if self.kind == "date":
            return date.fromisoformat(str(value))
        if self.kind == "timestamp":
            return datetime.fromisoformat(str(value))
        return value

    def _check_value(self, value: Scalar | None) -> None:
        fits = {
            "boolean": isinstance(value, bool),
            "date": isinstance(value, str) and _is_date(value),
            "timestamp": isinstance(value, str) and _is_time(value),
            "string": isinstance(value, str),
            "json": isinstance(value, str),
        }.get(self.kind, self._is_number(value))
        if not fits:
            raise ValueError(f"{value!r} is no {self.type}; times are ISO 8601 with a zone")

    def _is_number(self, value: Scalar | None) -> bool:
        """Whether the value is one of the type's numbers, without rounding."""
        if isinstance(value, bool | str | None) or not isfinite(value):
            return False
        if self.kind in _BITS:
            bits = _BITS[self.kind]
            return isinstance(value, int) and -(2 ** (bits - 1)) <= value < 2 ** (bits - 1)
        if self.kind == "decimal":
            precision, scale = self.digits
            units = Fraction(str(value)) * 10**scale
            return units.denominator == 1 and bool(abs(units) < 10**precision)
        return True


def _is_date(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def _is_time(text: str) -> bool:
    try:
        moment = datetime.fromisoformat(text)
        return moment.tzinfo is not None and bool(moment.astimezone(UTC))
    except (ValueError, OverflowError):  # The latter: its year in UTC is 0 or 10000.
        return False


class Dataset(Part):
    """A table: which material it is made of and what its columns are."""

    name: Name
    consumes: Name
    ingestion: Literal["incremental", "full", "append"] = Field(
        default="incremental",
        description="incremental: the newest version of each key; full: the same, and what "
        "disappears from the source is deleted; append: every record, in the order it came.",
    )
    primary_key: tuple[ColumnName, ...] = Field(
        default=(), description="Columns that name a row; every style but append needs them."
    )
    incremental_field: ColumnName | None = Field(
        default=None, description="Column that says which of two versions is newer."
    )
    partition_field: ColumnName | None = Field(
        default=None, description="Column that splits the table into folders."
    )
    history: bool = Field(
        default=False,
        description="Also keep every version of a row in `<table>_history`, with validFrom, "
        "validTo and isCurrent (slowly changing dimension, type 2).",
    )
    keep_rest: bool = Field(
        default=False, description="Keep the fields that no column names, as JSON in `_rest`."
    )
    freshness: Period | None = Field(
        default=None,
        description="How far the table may be behind its source; `alerts.freshness` by default.",
    )
    run_every: Period | None = Field(
        default=None,
        description="At most one run in this time, over all that came meanwhile: rows come later, "
        "and cost less. By default the next run begins when the one before it has ended.",
    )
    columns: dict[ColumnName, Column] = Field(min_length=1)
    job: Name = Field(default="transform", description="The Databricks job that writes the table.")

    @property
    def table(self) -> str:
        """The table's name in SQL."""
        return self.name.replace("-", "_")

    @model_validator(mode="after")
    def _columns_differ_by_more_than_case(self) -> Self:
        _differ_by_more_than_case(self.columns)
        return self

    @model_validator(mode="after")
    def _names_columns(self) -> Self:
        _name_columns(
            (*self.primary_key, self.incremental_field, self.partition_field), self.columns
        )
        return self

    @model_validator(mode="after")
    def _history_has_columns_of_its_own(self) -> Self:
        taken = {name.lower() for name in HISTORY_COLUMNS}
        for column in self.columns if self.history else ():
            if column.lower() in taken:
                raise ValueError(f"column {column!r} is one that history adds: call it differently")
        return self

    @model_validator(mode="after")
    def _style_fits_the_key(self) -> Self:
        if self.ingestion == "append":
            if self.primary_key or self.history:
                raise ValueError("an append dataset keeps every record: no primaryKey, no history")
        elif not self.primary_key:
            raise ValueError("primaryKey is missing: only an append dataset goes without")
        for column in self.primary_key:
            if self.columns[column].type in ("double", "json"):
                raise ValueError(
                    f"column {column!r} cannot be in the primaryKey: two of the same "
                    f"{self.columns[column].type} need not look the same"
                )
        return self


class Curated(Part):
    """A table or view made from other tables by SQL, in `transforms/curated/<name>.sql`."""

    name: Name
    reads: tuple[Name, ...] = Field(
        min_length=1, description="Datasets and curated tables; the SQL names them as tables."
    )
    kind: Literal["table", "view"] = Field(
        default="table", description="A table is written after its inputs change; a view never is."
    )
    columns: dict[ColumnName, ColumnType] = Field(
        default_factory=dict, description="Names and types that the SQL of a table must give."
    )
    primary_key: tuple[ColumnName, ...] = Field(
        default=(), description="Columns that name a row; an incremental table needs them."
    )
    incremental: bool = Field(
        default=False,
        description="The SQL is given only rows that changed, and its rows are merged by "
        "primaryKey; only for SQL that makes each row of a single input row.",
    )
    job: Name = Field(default="transform", description="The Databricks job that writes the table.")

    @property
    def table(self) -> str:
        """The table's name in SQL."""
        return self.name.replace("-", "_")

    @model_validator(mode="after")
    def _says_enough(self) -> Self:
        if (self.kind == "table") != bool(self.columns):
            raise ValueError("a curated table declares its columns; a view has none of its own")
        if self.incremental and (self.kind == "view" or not self.primary_key):
            raise ValueError("incremental is for a curated table that has a primaryKey")
        _differ_by_more_than_case(self.columns)
        _name_columns(self.primary_key, self.columns)
        return self


def _differ_by_more_than_case(columns: Iterable[str]) -> None:
    lower = [column.lower() for column in columns]
    for column in columns:
        if lower.count(column.lower()) > 1:
            raise ValueError(f"columns {column!r} differ only in case, which SQL cannot tell")


def _name_columns(named: Iterable[str | None], columns: Iterable[str]) -> None:
    known = list(columns)
    for column in filter(None, named):
        if column not in known:
            raise ValueError(f"column {column!r} is not among the columns{nearest(column, known)}")
