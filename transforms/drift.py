"""Drift: how the records of one run differ from what the dataset says of them.

`newFields` are fields of a record that no column is read from, `missingColumns` those columns that
no record had a value for, `typeChanged` those that it had a value of another type for; all but the
missing with the number of records. Only new fields are ever looked for in a sample of the records,
and then `sampled` says in one of how many.
"""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as fn

from transforms.clean import BLANK, GIVEN, NO_RECORD, UNKNOWN, columns_with_default

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from shared.domain.dataset import Dataset
    from transforms.manifest import Manifest

#: Raw blobs of this size, some 200,000 records, are looked through whole; of more, this much.
BYTES_LOOKED_AT = 32_000_000
NAMES_MAX = 50
_NAME_LENGTH_MAX = 200  # It is the source that names its fields.
_FIELD, _TYPE = "field", "type"

type Drift = dict[str, Any]


def look_every(manifest: Manifest) -> int:
    """Return in one of how many of its records a run looks for new fields."""
    return max(1, ceil(manifest.size_bytes / BYTES_LOOKED_AT))


def find_drift(records: DataFrame, dataset: Dataset, *, sampled: int = 1) -> Drift:
    """Return the drift of a run's staged records: at most `NAMES_MAX` names of each kind."""
    fields, failures = _fields_and_failures(records, names=NAMES_MAX + len(dataset.columns))
    missing = [name for name in _columns_without_value(records, dataset) if name not in failures]
    drift: Drift = {
        "newFields": dict(list(fields.items())[:NAMES_MAX]),
        "missingColumns": missing[:NAMES_MAX],
        "typeChanged": dict(list(failures.items())[:NAMES_MAX]),
    }
    # What is kept of every record has been looked for in every record.
    return drift if sampled == 1 or dataset.keep_rest else {**drift, "sampled": sampled}


def _fields_and_failures(
    records: DataFrame, *, names: int
) -> tuple[dict[str, int], dict[str, int]]:
    """Count the records that have a field, and those that a column's type does not fit."""
    ordinary = records.where(~fn.col("_deleted"))
    fields = ordinary.where(~fn.col("_reason").isin(*NO_RECORD)).select(
        fn.lit(_FIELD).alias("_kind"), fn.explode(fn.array_distinct(UNKNOWN)).alias("_name")
    )
    reasons = ordinary.where(fn.col("_reason").contains(":not-a-"))
    failures = reasons.select(
        fn.lit(_TYPE).alias("_kind"), fn.explode(fn.split("_reason", "; ")).alias("_name")
    ).where(fn.col("_name").contains(":not-a-"))
    of_either = fields.withColumn("_name", fn.substring("_name", 1, _NAME_LENGTH_MAX)).unionByName(
        failures.withColumn("_name", fn.substring_index("_name", ":", 1))
    )
    counts = of_either.groupBy("_kind", "_name").agg(fn.count("*").alias("_records"))
    # Failures first: there are at most as many of them as columns.
    rows = counts.orderBy(fn.desc("_kind"), fn.desc("_records"), "_name").limit(names).collect()
    found: dict[str, dict[str, int]] = {_FIELD: {}, _TYPE: {}}
    for row in rows:
        found[row["_kind"]][row["_name"]] = row["_records"]
    return found[_FIELD], found[_TYPE]


def _columns_without_value(records: DataFrame, dataset: Dataset) -> list[str]:
    """Return the columns that are empty throughout, or would be if they had no default."""
    defaulted = columns_with_default(dataset)
    counted = {name: GIVEN + name if name in defaulted else name for name in dataset.columns}
    # By themselves: Sail takes these from the files' statistics and reads nothing.
    values = records.agg(*(fn.count(column).alias(name) for name, column in counted.items()))
    is_record = ~fn.col("_deleted") & ~fn.col("_reason").isin(BLANK, *NO_RECORD)
    [row] = values.crossJoin(records.agg(fn.count_if(is_record).alias("_records"))).collect()
    return [name for name in dataset.columns if row["_records"] and not row[name]]
