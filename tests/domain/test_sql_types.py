"""SQL types: one table for three engines, which no column's type is missing from."""

from __future__ import annotations

import re
from typing import get_args

import pytest

from shared.domain.dataset import Column, ColumnType
from shared.domain.sql_types import TYPES, sql_type
from transforms.columns import spark_type

#: column type, Spark, Synapse, DuckDB
NAMES = [
    ("string", "string", "VARCHAR(8000)", "VARCHAR"),
    ("integer", "int", "INT", "INTEGER"),
    ("long", "bigint", "BIGINT", "BIGINT"),
    ("double", "double", "FLOAT", "DOUBLE"),
    ("decimal(10,2)", "decimal(10,2)", "DECIMAL(10,2)", "DECIMAL(10,2)"),
    ("decimal(38, 0)", "decimal(38,0)", "DECIMAL(38,0)", "DECIMAL(38,0)"),
    ("boolean", "boolean", "BIT", "BOOLEAN"),
    ("date", "date", "DATE", "DATE"),
    ("timestamp", "timestamp", "DATETIME2(6)", "TIMESTAMP WITH TIME ZONE"),
    ("json", "string", "VARCHAR(MAX)", "VARCHAR"),
]


@pytest.mark.parametrize(("column_type", "spark", "synapse", "duckdb"), NAMES)
def test_column_type_has_one_name_in_each_engine(
    column_type: str, spark: str, synapse: str, duckdb: str
) -> None:
    """Whoever moves a question from one engine to another must find the same types."""
    found = sql_type(column_type)

    assert (found.spark, found.synapse, found.duckdb) == (spark, synapse, duckdb)


@pytest.mark.parametrize("column_type", [row[0] for row in NAMES])
def test_transform_writes_the_type_that_the_views_expect(column_type: str) -> None:
    """Synapse refuses a column whose type is not the one its view declares."""
    column = Column(type=column_type)

    written = spark_type(column)

    assert written == sql_type(column_type).spark


def test_every_type_that_the_document_knows_is_in_the_table() -> None:
    """A new column type without SQL names would break the views of whoever uses it."""
    pattern = get_args(ColumnType)[1].pattern
    known = set(re.findall(r"[a-z]+", pattern.replace(r"\d", "")))

    assert known == TYPES.keys() - {"binary"} == {name.partition("(")[0] for name, *_ in NAMES}
