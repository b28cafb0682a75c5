"""Delta tables: what Synapse can read, checked by another reader, and what may change in them."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import duckdb
import pytest
from deltalake import DeltaTable
from pyspark.sql import functions as fn

from tests.transforms.lake import Lake, dataset, event, thing
from transforms.delta import check_table
from transforms.errors import RunFailed


def delta_table(lake: Lake) -> DeltaTable:
    """The table as delta-rs sees it."""
    options = {
        "account_name": str(lake.blobs.account_name),
        "account_key": lake.blobs.credential.account_key,
        "endpoint": lake.blobs.url,
        "allow_http": "true",
    }
    return DeltaTable(f"az://clean/{lake.name}", storage_options=options)


def test_table_demands_reader_version_1(lake: Lake) -> None:
    """Synapse reads nothing newer; another implementation says what the log demands."""
    lake.run_events("r1", event(0, thing("a")))

    table = delta_table(lake)

    protocol, metadata = table.protocol(), table.metadata()
    assert (protocol.min_reader_version, protocol.reader_features) == (1, None)
    assert metadata.configuration["delta.enableDeletionVectors"] == "false"


def test_columns_stand_in_the_document_s_order(lake: Lake) -> None:
    """People read a table from left to right: theirs first, then where a row came from."""
    columns = {"b": {"type": "date"}, "a": {"type": "decimal(9,2)"}, "t": {"type": "timestamp"}}
    change = {"columns": columns, "primaryKey": ["a"], "incrementalField": None}
    lake.run_events("r1", event(0, {"a": 1}), **change, partitionField="b")

    fields = delta_table(lake).schema().fields

    assert [(field.name, json.loads(field.type.to_json())) for field in fields] == [
        ("a", "decimal(9,2)"),
        ("t", "timestamp"),
        ("_sequence", "long"),
        ("_line", "integer"),
        ("_partition", "string"),
        ("_enqueued_at", "timestamp"),
        ("_run", "string"),
        ("_deleted", "boolean"),
        ("b", "date"),
    ]


def test_one_run_makes_at_most_one_commit(lake: Lake) -> None:
    """Every commit is a file that every reader opens."""
    lake.run_events("r1", event(0, thing("a")))
    lake.run_events("r2", event(1, thing("a", updated=2), thing("b")))
    lake.run_events("r3", event(2, thing("b", updated=0)))

    history = delta_table(lake).history()

    assert [commit["operation"] for commit in history] == ["MERGE", "MERGE", "CREATE TABLE"]


def test_version_is_right_beyond_a_checkpoint(lake: Lake) -> None:
    """A long log is read from its last checkpoint on: what is before it may be gone."""
    lake.run_events("r1", event(0, thing("a")))
    commit_until_checkpoint(lake)

    results = [lake.run_events(f"r{n}", event(n, thing("a", updated=n))) for n in (2, 3, 3)]

    assert [result.table_version for result in results] == [12, 13, 13]
    assert delta_table(lake).version() == 13


@pytest.mark.parametrize(
    ("container", "folder"),
    [("clean", "{}"), ("clean", "{}_history"), ("quarantine", "refused/{}")],
)
def test_table_that_synapse_cannot_read_fails_the_run(
    lake: Lake, container: str, folder: str
) -> None:
    """Somebody else's deletion vectors must be noticed before a person's query fails."""
    lake.run_events("r1", event(0, thing("a"), b"bad"), history=True)
    demand_deletion_vectors(lake, container, folder.format(lake.name), version=2)
    url = lake.url(container, folder.format(lake.name))

    with pytest.raises(RunFailed, match=f"Synapse cannot read the table at {url}:"):
        lake.run_events("r2", event(1, thing("a", updated=2), b"bad"), history=True)


def test_protocol_is_found_in_a_checkpoint(lake: Lake) -> None:
    """The commit that demanded too much may be long gone from the part of the log that is read."""
    lake.run_events("r1", event(0, thing("a")))
    demand_deletion_vectors(lake, "clean", lake.name, version=2)
    commit_until_checkpoint(lake)

    with pytest.raises(RunFailed, match="Synapse cannot read"):
        check_table(lake.session, lake.table_url)


def commit_until_checkpoint(lake: Lake) -> None:
    """Commit ten more rows, each by itself: past the checkpoint of version 10."""
    row = lake.session.read.format("delta").load(lake.table_url).limit(1)
    for number in range(10):
        other = row.withColumn("id", fn.lit(f"other-{number}"))
        other.write.format("delta").mode("append").save(lake.table_url)
    log = lake.files("clean", f"{lake.name}/_delta_log")
    assert f"{10:020d}.checkpoint.parquet" in log


def demand_deletion_vectors(lake: Lake, container: str, folder: str, *, version: int) -> None:
    """Commit what a workspace does that switches deletion vectors on."""
    features = {"readerFeatures": ["deletionVectors"], "writerFeatures": ["deletionVectors"]}
    actions = [
        {"commitInfo": {"timestamp": 0, "operation": "UPGRADE PROTOCOL"}},
        {"protocol": {"minReaderVersion": 3, "minWriterVersion": 7, **features}},
    ]
    content = "\n".join(map(json.dumps, actions)).encode()
    lake.put(container, f"{folder}/_delta_log/{version:020d}.json", content)


def test_new_column_appears_in_the_table(lake: Lake) -> None:
    """A dataset grows; what is in the table stays, with NULL in the new column."""
    lake.run_events("r1", event(0, thing("a"), thing("b")))
    columns = {"note": {"type": "string"}, **dataset()["columns"]}

    result = lake.run_events("r2", event(1, thing("b", updated=2) | {"note": "n"}), columns=columns)

    assert (result.updated, result.inserted) == (1, 0)
    assert lake.values("id", "updated", "value", "note") == [
        ("a", 1, 1.0, None),
        ("b", 2, 1.0, "n"),
    ]


def test_column_taken_out_of_the_dataset_stays_in_the_table(lake: Lake) -> None:
    """Taking a column away is nothing that a run decides: it only has no new values."""
    lake.run_events("r1", event(0, thing("a", value=7)))
    columns = {name: column for name, column in dataset()["columns"].items() if name != "value"}

    lake.run_events("r2", event(1, thing("a", updated=2), thing("b")), columns=columns)

    assert lake.values("id", "updated", "value") == [("a", 2, 7.0), ("b", 1, None)]


def test_changed_type_fails_the_run_and_names_the_column(lake: Lake) -> None:
    """Sail would write NULL into such a column without a word."""
    lake.run_events("r1", event(0, thing("a", value=7)))
    columns = dataset()["columns"] | {"value": {"type": "string"}}

    with pytest.raises(RunFailed, match="column 'value': double is now string"):
        lake.run_events("r2", event(1, thing("a", updated=2)), columns=columns)

    assert lake.values("id", "value") == [("a", 7.0)]


def test_key_that_is_twice_in_the_table_stops_the_run(lake: Lake) -> None:
    """Somebody else's rows would make the numbers lie, and MERGE change both."""
    lake.run_events("r1", event(0, thing("a")))
    frame = lake.session.read.format("delta").load(lake.table_url)
    frame.write.format("delta").mode("append").save(lake.table_url)

    with pytest.raises(AssertionError, match="1 keys became 2 rows"):
        lake.run_events("r2", event(1, thing("a", updated=2)))

    assert lake.values("id", "updated") == [("a", 1), ("a", 1)]


def test_other_reader_finds_the_same_rows(lake: Lake, azurite: str) -> None:
    """The table is a Delta table, not something that only its writer understands."""
    records = [thing(f"k{number}", value=number / 4) for number in range(50)]
    lake.run_events("r1", event(0, *records))
    lake.run_events("r2", event(1, thing("k7", updated=2, value=-1)))

    with duckdb.connect() as connection:
        for name in ("azure", "delta"):
            connection.load_extension(str(_extension(name)))
        connection.execute(f"create secret (type azure, connection_string '{azurite}')")
        table = connection.sql("from delta_scan($url)", params={"url": f"az://clean/{lake.name}"})
        found = table.select("id", "value", "_sequence").fetchall()

    assert sorted(found) == sorted(lake.values("id", "value", "_sequence"))
    assert ("k7", -1.0, 1) in found


def _extension(name: str) -> Path:
    """Where the wheel of a DuckDB extension keeps it."""
    spec = importlib.util.find_spec(f"duckdb_extension_{name}")
    assert spec is not None
    assert spec.origin is not None
    [path] = Path(spec.origin).parent.rglob(f"{name}.duckdb_extension")
    return path
