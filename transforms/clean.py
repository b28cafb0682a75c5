"""Records: the raw events' lines, each with typed columns, or with the reasons why not.

The reasons: `not-utf8`, `not-json` (or JSON, but not an object), `<column>:missing`,
`<column>:not-a-<type>`; all that apply, joined with "; ".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import functions as fn

from transforms.columns import JsonTexts, spark_type, typed_value

if TYPE_CHECKING:
    from pyspark.sql import Column as Expression
    from pyspark.sql import DataFrame, SparkSession

    from shared.domain.dataset import Column, Dataset
    from transforms.manifest import Manifest

#: The columns of a raw event that the transform needs; the blobs hold more.
RAW_SCHEMA = (
    "sequence_number bigint, enqueued_time timestamp, partition string, "
    "quarantined string, body binary"
)
_ORIGIN_SCHEMA = "_partition string, _sequence bigint, _line int, _enqueued_at timestamp"
#: The reason of a record that has none.
GOOD = ""
#: Not a reason: the row holds no record and is there so that its event is counted.
BLANK = "blank"


def clean_schema(dataset: Dataset) -> str:
    """Return the schema of what `clean_records` makes."""
    columns = [f"`{name}` {spark_type(column)}" for name, column in dataset.columns.items()]
    return ", ".join((*columns, _ORIGIN_SCHEMA, "_reason string, _body binary"))


def read_events(session: SparkSession, manifest: Manifest) -> DataFrame:
    """Read the manifest's events; Sail skips a missing blob without a word: count them."""
    return session.read.format("avro").schema(RAW_SCHEMA).load(manifest.raw_urls)


def clean_records(events: DataFrame, dataset: Dataset) -> DataFrame:
    """Return one row a record, plus one for each event whose first line holds none."""
    texts = JsonTexts(dataset.columns)
    lines = _split_into_lines(events)
    # Sail pushes a filter down to where it reads: one on the reason would parse every record twice.
    kept = fn.col("_record").isNull() | ~_is_blank(fn.col("_record")) | (fn.col("_line") == 1)
    parsed = lines.where(kept).withColumn("_json", fn.from_json("_record", texts.schema))
    record, json = fn.col("_record"), fn.col("_json")
    found = {name: texts.text(name, record=record, parsed=json) for name in dataset.columns}
    typed = {name: typed_value(found[name], column) for name, column in dataset.columns.items()}
    problems = [
        problem
        for name, column in dataset.columns.items()
        for problem in _problems(name, column, text=found[name], value=typed[name])
    ]
    reason = (
        fn.when(record.isNull(), "not-utf8")
        .when(_is_blank(record), BLANK)
        .when(texts.is_absent(json) & _is_no_object(record), "not-json")
        .otherwise(fn.concat_ws("; ", *problems))
    )
    rows = parsed.select(
        *(value.alias(name) for name, value in typed.items()),
        *("_partition", "_sequence", "_line", "_enqueued_at"),
        reason.alias("_reason"),
        fn.col("_bytes"),
    )
    body = fn.when(~fn.col("_reason").isin(GOOD, BLANK), fn.col("_bytes"))
    return rows.withColumn("_body", body).drop("_bytes")


def _split_into_lines(events: DataFrame) -> DataFrame:
    """Return each line as text (NULL when it is not UTF-8) and as the bytes it was.

    A body that is UTF-8 as a whole is split as text. Any other is split as hexadecimal digits, two
    and a space a byte, so that "0A " is a line break and nothing else is; only the lines that are
    really broken then have no text.
    """
    body = fn.when(fn.col("quarantined") == "", fn.col("body")).otherwise(fn.lit(b""))
    text = fn.try_validate_utf8(body)
    spaced = fn.regexp_replace(fn.hex(body), "(..)", "$1 ")
    lines = fn.when(text.isNotNull(), fn.split(text, "\n")).otherwise(fn.split(spaced, "0A "))
    # The body is left behind before the lines spread: it would be repeated with every one.
    split = events.select(
        fn.col("partition").alias("_partition"),
        fn.col("sequence_number").alias("_sequence"),
        fn.col("enqueued_time").alias("_enqueued_at"),
        text.isNull().alias("_in_hex"),
        lines.alias("_lines"),
    )
    spread = split.select(
        *("_partition", "_sequence", "_enqueued_at", "_in_hex"),
        fn.posexplode("_lines").alias("_position", "_text"),
    )
    line = fn.col("_text")
    unhexed = fn.unhex(fn.replace(line, fn.lit(" "), fn.lit("")))
    in_hex = fn.col("_in_hex")
    return spread.select(
        *("_partition", "_sequence", "_enqueued_at"),
        (fn.col("_position") + 1).alias("_line"),
        fn.when(in_hex, fn.try_validate_utf8(unhexed)).otherwise(line).alias("_record"),
        fn.when(in_hex, unhexed).otherwise(line.cast("binary")).alias("_bytes"),
    )


def _is_blank(record: Expression) -> Expression:
    return fn.btrim(record, fn.lit(" \t\r")) == ""


def _is_no_object(record: Expression) -> Expression:
    # Asked only where no column was found: it costs as much as reading the record does.
    return fn.from_json(record, "map<string,string>").isNull()


def _problems(
    name: str, column: Column, *, text: Expression, value: Expression
) -> list[Expression]:
    problems = []
    if column.required:
        problems.append(fn.when(text.isNull(), f"{name}:missing"))
    if column.type not in ("string", "json"):
        wrong = text.isNotNull() & value.isNull()
        problems.append(fn.when(wrong, f"{name}:not-a-{column.type}"))
    return problems
