"""The dataset's models: every rule a column or table must keep, before anything runs."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from shared.domain.dataset import Column, Curated, Dataset

MOMENT = "2026-11-20T12:00:00Z"


def problem(model: type[Column | Curated | Dataset], **parts: Any) -> str:
    """The only thing that is wrong with a part of the document."""
    with pytest.raises(ValidationError) as error:
        model.model_validate(parts)
    [detail] = error.value.errors()
    return detail["msg"].removeprefix("Value error, ")


def dataset(**changes: Any) -> dict[str, Any]:
    """A dataset that is right; `changes` replace its parts."""
    columns = {"id": {"type": "string"}, "at": {"type": "timestamp"}, "n": {"type": "double"}}
    return {"name": "d", "consumes": "m", "primaryKey": ["id"], "columns": columns} | changes


def curated(**changes: Any) -> dict[str, Any]:
    """A curated table that is right; `changes` replace its parts."""
    return {"name": "c", "reads": ["d"], "columns": {"id": "string"}} | changes


@pytest.mark.parametrize(
    "kind",
    [
        "string",
        "integer",
        "long",
        "double",
        "boolean",
        "date",
        "timestamp",
        "json",
        "decimal(1,0)",
        "decimal(38,38)",
    ],
)
def test_type_is_known(kind: str) -> None:
    """These are the types that every engine and reader in the chain has."""
    assert Column.model_validate({"type": kind}).kind == kind.partition("(")[0]


@pytest.mark.parametrize("kind", ["int", "decimal", "decimal(0,0)", "decimal(5)", "timestamp_ntz"])
def test_type_that_is_not_known_is_refused(kind: str) -> None:
    """A type that only one engine has would make a table that another cannot read."""
    assert problem(Column, type=kind).startswith("String should match pattern")


@pytest.mark.parametrize("kind", ["decimal(39,2)", "decimal(4,5)"])
def test_decimal_fits_every_engine(kind: str) -> None:
    """Wider decimals exist in none of them."""
    assert problem(Column, type=kind) == (
        "a decimal has at most 38 digits, and no more after the point"
    )


@pytest.mark.parametrize("path", ["", "a.", ".a", "a..b"])
def test_path_has_no_empty_step(path: str) -> None:
    """Such a path leads nowhere, and every row would lack the value."""
    assert problem(Column, type="string", path=path) == f"path {path!r} has an empty step"


def test_format_is_for_times() -> None:
    """Anywhere else it would be ignored without a word."""
    found = problem(Column, type="long", format="epochSeconds")

    assert found == "format is for dates and timestamps, not for a long"


@pytest.mark.parametrize("kind", ["string", "boolean", "json"])
@pytest.mark.parametrize("limit", ["min", "max"])
def test_limits_are_for_what_has_an_order(kind: str, limit: str) -> None:
    """The order of texts depends on the engine's collation."""
    found = problem(Column, type=kind, **{limit: "a"})

    assert found == f"min and max are for numbers and times, not for a {kind}"


def test_one_of_is_not_for_json() -> None:
    """Blanks and the writing of numbers would decide."""
    assert problem(Column, type="json", oneOf=["{}"]).startswith("oneOf is not for json")


@pytest.mark.parametrize(
    ("expression", "kind", "found"),
    [
        ("a", "long", "matches is for a string, not for a long"),
        ("(", "string", "matches is no regular expression: missing ), unterminated subpattern"),
        ("(?i)a", "string", "matches uses '(?i', which not every engine understands alike"),
    ],
)
def test_expression_works_on_every_engine(expression: str, kind: str, found: str) -> None:
    """The rules for expressions themselves are in `text_pattern`."""
    assert problem(Column, type=kind, matches=expression).startswith(found)


VALUES: list[tuple[str, list[Any], list[Any]]] = [
    ("string", ["", "a"], [1, True]),
    ("json", ["{}"], [1]),
    ("boolean", [True], [1, "true"]),
    ("integer", [-(2**31), 2**31 - 1], [2**31, -(2**31) - 1, 1.0, "1", True]),
    ("long", [-(2**63), 2**63 - 1], [2**63, -(2**63) - 1, 0.5]),
    ("double", [1, 1.5, -1e300], ["1", True, float("nan"), float("inf")]),
    ("decimal(4,2)", [99.99, -99.99, 0.1, 1], [100, 0.001, "1", True, float("nan")]),
    ("decimal(38,0)", [10**38 - 1, 1e22], [10**38, 0.5]),
    ("decimal(38,20)", [1e-7], [1e-21]),
    ("date", ["2026-11-20"], ["2026-11-31", "20.11.2026", MOMENT, 20261120]),
    (
        "timestamp",
        [MOMENT, "2026-11-20T12:00+01:00"],
        ["2026-11-20T12:00:00", "noon", 0, "0001-01-01T00:00+01:00"],
    ),
]


@pytest.mark.parametrize(
    ("kind", "value"), [(kind, value) for kind, good, _ in VALUES for value in good]
)
def test_value_of_the_document_may_be_any_of_the_type(kind: str, value: Any) -> None:
    """Defaults, limits and choices are values of the column."""
    column = Column.model_validate({"type": kind, "default": value})

    assert column.default == value


@pytest.mark.parametrize(
    ("kind", "value"), [(kind, value) for kind, _, bad in VALUES for value in bad]
)
def test_value_of_another_type_is_refused(kind: str, value: Any) -> None:
    """A limit that the engine rounds, or reads as NULL, would check something else."""
    found = problem(Column, type=kind, default=value)

    assert found == f"{value!r} is no {kind}; times are ISO 8601 with a zone"


@pytest.mark.parametrize("part", ["min", "max", "oneOf"])
def test_every_value_of_a_column_is_looked_at(part: str) -> None:
    """Not the default alone."""
    value: Any = [1, "x"] if part == "oneOf" else "x"

    assert problem(Column, type="integer", **{part: value}).startswith("'x' is no integer")


@pytest.mark.parametrize(
    ("kind", "low", "high"),
    [
        ("integer", 2, 1),
        ("decimal(4,2)", 0.1, 0.09),
        ("date", "2026-11-20", "2026-11-19"),
        ("timestamp", MOMENT, "2026-11-20T12:30:00+01:00"),
    ],
)
def test_limits_leave_room_for_a_value(kind: str, low: Any, high: Any) -> None:
    """With limits the wrong way round every record would be refused."""
    found = problem(Column, type=kind, min=low, max=high)

    assert found == "min is greater than max: no value is good"
    assert Column.model_validate({"type": kind, "min": low, "max": low})


@pytest.mark.parametrize(
    "parts",
    [
        {"type": "integer", "default": 0, "min": 1},
        {"type": "double", "default": 2, "max": 1.5},
        {"type": "string", "default": "c", "oneOf": ["a", "b"]},
        {"type": "string", "default": "ab", "matches": "a"},
        {"type": "string", "default": "\N{ARABIC-INDIC DIGIT SEVEN}", "matches": "\\d"},
        {"type": "timestamp", "default": MOMENT, "max": "2026-11-20T12:00:00+01:00"},
    ],
)
def test_default_is_good_by_the_column_s_own_checks(parts: dict[str, Any]) -> None:
    """Or every record without the value would be refused for what the document says."""
    assert problem(Column, **parts).endswith("is not good by the column's own checks")


@pytest.mark.parametrize(
    "parts",
    [
        {"type": "string", "default": "a", "oneOf": ["a", "b"], "matches": "a|b", "required": True},
        {"type": "timestamp", "default": MOMENT, "oneOf": ["2026-11-20T13:00:00+01:00"]},
        {"type": "decimal(4,2)", "default": 1, "min": 1.0, "max": 1, "oneOf": [1.0]},
    ],
)
def test_checks_that_agree_may_stand_together(parts: dict[str, Any]) -> None:
    """Values are compared as what they are, not as they are written."""
    assert Column.model_validate(parts).default is not None


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        (
            {"columns": {"id": {"type": "string"}, "ID": {"type": "long"}}},
            "columns 'id' differ only in case, which SQL cannot tell",
        ),
        ({"primaryKey": ["ids"]}, "column 'ids' is not among the columns; did you mean 'id'?"),
        ({"incrementalField": "x"}, "column 'x' is not among the columns"),
        ({"partitionField": "x"}, "column 'x' is not among the columns"),
        ({"primaryKey": []}, "primaryKey is missing: only an append dataset goes without"),
        (
            {"ingestion": "append"},
            "an append dataset keeps every record: no primaryKey, no history",
        ),
        (
            {"ingestion": "append", "primaryKey": [], "history": True},
            "an append dataset keeps every record: no primaryKey, no history",
        ),
        (
            {"primaryKey": ["n"]},
            "column 'n' cannot be in the primaryKey: two of the same double need not look the same",
        ),
        (
            {"primaryKey": ["j"], "columns": {"j": {"type": "json"}}},
            "column 'j' cannot be in the primaryKey: two of the same json need not look the same",
        ),
    ],
)
def test_dataset_that_cannot_work_is_refused(changes: dict[str, Any], found: str) -> None:
    """Each of these would otherwise be found out by a run, after the data has come."""
    assert problem(Dataset, **dataset(**changes)) == found


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"ingestion": "full", "history": True, "keepRest": True},
        {"ingestion": "append", "primaryKey": [], "partitionField": "at"},
        {"incrementalField": "at", "partitionField": "at", "freshness": "PT3H"},
    ],
)
def test_dataset_that_can_work_is_taken(changes: dict[str, Any]) -> None:
    """The rules must not be in the way."""
    assert Dataset.model_validate(dataset(name="my-data", **changes)).table == "my_data"


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"columns": {}}, "a curated table declares its columns; a view has none of its own"),
        ({"kind": "view"}, "a curated table declares its columns; a view has none of its own"),
        ({"incremental": True}, "incremental is for a curated table that has a primaryKey"),
        (
            {"kind": "view", "columns": {}, "incremental": True},
            "incremental is for a curated table that has a primaryKey",
        ),
        ({"primaryKey": ["x"]}, "column 'x' is not among the columns"),
        (
            {"columns": {"a": "string", "A": "long"}},
            "columns 'a' differ only in case, which SQL cannot tell",
        ),
    ],
)
def test_curated_table_that_cannot_work_is_refused(changes: dict[str, Any], found: str) -> None:
    """The same for what is made by SQL."""
    assert problem(Curated, **curated(**changes)) == found


def test_curated_table_that_can_work_is_taken() -> None:
    """A table, an incremental one, a view."""
    assert Curated.model_validate(curated(name="by-day")).table == "by_day"
    assert Curated.model_validate(curated(incremental=True, primaryKey=["id"])).incremental
    assert Curated.model_validate(curated(kind="view", columns={})).kind == "view"
