"""Synapse SQL: the scripts that make a serverless database of views over the lake.

Each script may be run as often as one likes: what is there is left or replaced, nothing is ever
dropped that holds anything. A view declares its columns, because Synapse would otherwise guess the
types; one that the table does not have (yet) is NULL.
"""

# ruff: noqa: S608 -- All of it is SQL; the names in it come from a document that checks them.
from __future__ import annotations

import re
from typing import TYPE_CHECKING

from cli.curated_dialect import translate
from cli.sql_views import (
    OPERATIONS,
    REFUSED,
    REFUSED_COLUMNS,
    RUN_COLUMNS,
    RUNS,
    CuratedView,
    DeltaView,
    columns_in_spark,
)
from shared.domain.errors import Misconfigured
from shared.domain.sql_types import sql_type

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cli.sql_views import RefusedView, SqlViews
    from shared.domain.document import Document

#: The lake's address differs from deployment to deployment, so sqlcmd is told it: `-v LakeUrl=…`.
LAKE_URL = "$(LakeUrl)"
COLLATION = "Latin1_General_100_BIN2_UTF8"
TABLES = "dbo"
_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_HEADER = "-- Made from pipeline.json by `millrace sql synapse`: do not edit.\n"
#: Credential (and reader role) to the containers that it opens. Whoever may use a credential can
#: read every file behind it, so those who only read tables do not get that of the operations.
_ACCESS = {
    "table_reader": ("clean", "curated"),
    "operations_reader": ("quarantine", "state"),
}
_MASTER_KEY = """\
-- The key protects secrets of credentials. Those here have none, so nobody needs its password.
IF NOT EXISTS (SELECT 1 FROM sys.symmetric_keys)
BEGIN
    DECLARE @password VARCHAR(80)
        = CAST(NEWID() AS VARCHAR(36)) + 'a' + CAST(NEWID() AS VARCHAR(36));
    EXEC ('CREATE MASTER KEY ENCRYPTION BY PASSWORD = ''' + @password + '''');
END;
GO
"""


def database_name(document: Document, environment: str) -> str:
    """The database: one for each environment; raise `Misconfigured` for what cannot be one."""
    if not _NAME.fullmatch(environment):
        raise Misconfigured("--environment", f"{environment!r} is no name: a-z, 0-9 and -")
    return f"{document.name}_{environment}".replace("-", "_")


def scripts(views: SqlViews, *, database: str, lake_url: str = LAKE_URL) -> Mapping[str, str]:
    """Name to script, in the order in which they are run."""
    use = f"USE [{database}];\nGO\n"
    parts = {
        "01-database.sql": _database(database),
        "02-sources.sql": use + _sources(lake_url),
        "03-tables.sql": use + _tables(views),
        "04-operations.sql": use + _operations(views.refused),
        "05-readers.sql": use + _readers(),
    }
    return {name: f"{_HEADER}{text}" for name, text in parts.items()}


def _database(name: str) -> str:
    return (
        "-- Delta holds text as UTF-8, and only this collation compares it as Delta does, so that\n"
        "-- conditions on text skip files. It tells names of tables and columns apart by case.\n"
        "USE [master];\nGO\n"
        f"IF NOT EXISTS (SELECT 1 FROM sys.databases WHERE name = '{name}')\n"
        f"    CREATE DATABASE [{name}] COLLATE {COLLATION};\nGO\n"
    )


def _sources(lake_url: str) -> str:
    parts = [_MASTER_KEY]
    for credential, containers in _ACCESS.items():
        parts.append(_credential(credential))
        parts += [_source(container, credential, lake_url) for container in containers]
    return "".join(parts)


def _credential(name: str) -> str:
    return (
        "IF NOT EXISTS (\n"
        f"    SELECT 1 FROM sys.database_scoped_credentials WHERE name = '{name}'\n"
        ")\n"
        f"    CREATE DATABASE SCOPED CREDENTIAL [{name}]\n"
        "    WITH IDENTITY = 'Managed Identity';\nGO\n"
    )


def _source(container: str, credential: str, lake_url: str) -> str:
    location = f"{lake_url}/{container}".replace("'", "''")
    there = f"SELECT 1 FROM sys.external_data_sources\n    WHERE name = '{container}'"
    return (
        f"IF EXISTS (\n    {there} AND location <> '{location}'\n)\n"
        f"    EXEC ('DROP EXTERNAL DATA SOURCE [{container}]');\nGO\n"
        f"IF NOT EXISTS (\n    {there}\n)\n"
        f"    CREATE EXTERNAL DATA SOURCE [{container}]\n"
        f"    WITH (LOCATION = '{location}', CREDENTIAL = [{credential}]);\nGO\n"
    )


def _tables(views: SqlViews) -> str:
    parts = []
    known: dict[str, Mapping[str, str]] = {}
    for view in views.tables:
        if isinstance(view, CuratedView):
            translated = translate(view, known=known, dialect="tsql", schema=TABLES)
            known[view.name] = translated.columns
            parts.append(_view(TABLES, view.name, f"{translated.sql};"))
        else:
            known[view.name] = columns_in_spark(view)
            parts.append(_view(TABLES, view.name, _delta(view)))
    return "".join(parts)


def _view(schema: str, name: str, select: str) -> str:
    return f"CREATE OR ALTER VIEW [{schema}].[{name}] AS\n{select}\nGO\n"


def _delta(view: DeltaView) -> str:
    """The rows that no mark hides; a table of an older version lacks the mark, so shows all."""
    columns = dict(view.columns) | dict.fromkeys(view.marks, "boolean")
    kept = [f"([rows].[{mark}] IS NULL OR [rows].[{mark}] = 0)" for mark in view.marks]
    return (
        f"SELECT\n{_listed(f'[rows].[{name}]' for name in view.columns)}\n"
        f"{_openrowset(view.folder, view.container)}\n"
        f"WITH (\n{_listed(_typed(columns))}\n) AS [rows]"
        + ("\nWHERE " + "\n    AND ".join(kept) if kept else "")
        + ";"
    )


def _openrowset(folder: str, container: str) -> str:
    return f"FROM OPENROWSET(BULK '{folder}', DATA_SOURCE = '{container}', FORMAT = 'DELTA')"


def _listed(lines: Iterable[str]) -> str:
    return ",\n".join(f"    {line}" for line in lines)


def _typed(columns: Mapping[str, str]) -> list[str]:
    return [f"[{name}] {sql_type(kind).synapse}" for name, kind in columns.items()]


def _operations(refused: Iterable[RefusedView]) -> str:
    parts = [
        f"IF SCHEMA_ID('{OPERATIONS}') IS NULL\n    EXEC ('CREATE SCHEMA [{OPERATIONS}]');\nGO\n",
        _view(OPERATIONS, RUNS, _runs()),
    ]
    parts += [_view(OPERATIONS, view.name, _refused(view)) for view in refused]
    if whole := "\nUNION ALL\n".join(map(_all_of, refused)):
        parts.append(_view(OPERATIONS, REFUSED, f"{whole};"))
    return "".join(parts)


def _runs() -> str:
    """A JSON file a run, read as one text each: no file holds the character that would part it."""
    shown = []
    for name, (_, kind) in RUN_COLUMNS.items():
        column = f"[run].[{name}]"
        if kind == "timestamp":  # Written with a zone, and always UTC.
            column = f"CAST(SWITCHOFFSET({column}, 0) AS {sql_type(kind).synapse}) AS [{name}]"
        if name == "dataset":  # From the path: a condition on it then reads one folder only.
            column = f"CAST([files].filepath(1) AS {sql_type(kind).synapse}) AS [dataset]"
        shown.append(column)
    inside = [
        f"[{name}] {'DATETIMEOFFSET(6)' if kind == 'timestamp' else sql_type(kind).synapse} "
        f"'{path}'"
        for name, (path, kind) in RUN_COLUMNS.items()
        if name != "dataset"
    ]
    return (
        f"SELECT\n{_listed(shown)}\n"
        "FROM OPENROWSET(\n"
        "    BULK 'runs/*/*.json',\n"
        "    DATA_SOURCE = 'state',\n"
        "    FORMAT = 'CSV',\n"
        "    FIELDTERMINATOR = '0x0b',\n"
        "    FIELDQUOTE = '0x0b',\n"
        "    ROWTERMINATOR = '0x0b'\n"
        ")\n"
        "WITH ([document] NVARCHAR(MAX)) AS [files]\n"
        "CROSS APPLY OPENJSON([files].[document])\n"
        f"WITH (\n{_listed(inside)}\n) AS [run];"
    )


def _all_of(view: RefusedView) -> str:
    names = ["dataset", *REFUSED_COLUMNS, "record"]
    return f"SELECT\n{_listed(f'[{name}]' for name in names)}\nFROM [{OPERATIONS}].[{view.name}]"


def _refused(view: RefusedView) -> str:
    shown = [
        f"CAST('{view.dataset}' AS {sql_type('string').synapse}) AS [dataset]",
        *(f"[rows].[{name}]" for name in REFUSED_COLUMNS),
        "CAST([rows].[body] AS VARCHAR(MAX)) AS [record]",
    ]
    return (
        f"SELECT\n{_listed(shown)}\n"
        f"{_openrowset(view.folder, view.container)}\n"
        f"WITH (\n{_listed(_typed(REFUSED_COLUMNS))}\n) AS [rows];"
    )


def _readers() -> str:
    """Reading through a view takes the view, the credential behind it, and OPENROWSET."""
    schemas = dict(zip(_ACCESS, (TABLES, OPERATIONS), strict=True))
    parts = [
        f"IF DATABASE_PRINCIPAL_ID('{role}') IS NULL\n    CREATE ROLE [{role}];\nGO\n"
        f"GRANT SELECT ON SCHEMA::[{schemas[role]}] TO [{role}];\n"
        f"GRANT ADMINISTER DATABASE BULK OPERATIONS TO [{role}];\nGO\n"
        for role in _ACCESS
    ]
    # Last, because sqlfluff does not know this grant and looks at nothing after it.
    unknown, *others = [
        f"GRANT REFERENCES ON DATABASE SCOPED CREDENTIAL::[{role}] TO [{role}];" for role in _ACCESS
    ]
    return "\n".join(("".join(parts) + f"{unknown} -- noqa: PRS", *others, "GO\n"))
