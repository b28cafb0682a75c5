"""SQL types: what a column's type is called in each engine that reads or writes it.

Spark writes the tables, Synapse serves them in Azure, DuckDB on one machine. All three hold the
same values: decimals are exact, dates have no zone, timestamps are moments. Synapse has no moments,
so it shows a timestamp as its time in UTC.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class SqlType:
    """One type by its three names."""

    spark: str
    synapse: str
    duckdb: str


#: A text in Synapse is at most 8,000 bytes of UTF-8: `VARCHAR(MAX)` would make every sort, join and
#: comparison of it slow, and keep conditions on it from skipping files. JSON is long and not
#: compared, so it may be any length. Six digits of a second are what Delta keeps.
TYPES = {
    "string": SqlType(spark="string", synapse="VARCHAR(8000)", duckdb="VARCHAR"),
    "integer": SqlType(spark="int", synapse="INT", duckdb="INTEGER"),
    "long": SqlType(spark="bigint", synapse="BIGINT", duckdb="BIGINT"),
    "double": SqlType(spark="double", synapse="FLOAT", duckdb="DOUBLE"),
    "decimal": SqlType(spark="decimal", synapse="DECIMAL", duckdb="DECIMAL"),
    "boolean": SqlType(spark="boolean", synapse="BIT", duckdb="BOOLEAN"),
    "date": SqlType(spark="date", synapse="DATE", duckdb="DATE"),
    "timestamp": SqlType(
        spark="timestamp", synapse="DATETIME2(6)", duckdb="TIMESTAMP WITH TIME ZONE"
    ),
    "json": SqlType(spark="string", synapse="VARCHAR(MAX)", duckdb="VARCHAR"),
    # No column of a dataset: the bytes of a record that was refused.
    "binary": SqlType(spark="binary", synapse="VARBINARY(MAX)", duckdb="BLOB"),
}


def sql_type(column_type: str) -> SqlType:
    """The names of a column's type; `decimal(p,s)` has its digits in each of them."""
    kind, bracket, digits = column_type.replace(" ", "").partition("(")
    found = TYPES[kind]
    if not bracket:
        return found
    return SqlType(
        spark=f"{found.spark}({digits}",
        synapse=f"{found.synapse}({digits}",
        duckdb=f"{found.duckdb}({digits}",
    )
