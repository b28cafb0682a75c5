"""PostgreSQL, beyond the ledger's promises: migrations, crashes, errors, tokens, SQL for people."""

from __future__ import annotations

import asyncio
import os
import signal
import traceback
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import psycopg
import pytest
from azure.core.credentials import AccessToken
from azure.core.exceptions import ClientAuthenticationError, ServiceRequestError

from shared import connections, wiring
from shared.adapters import postgres as adapter
from shared.adapters import postgres_connection
from shared.adapters.postgres import PostgresLedger
from shared.adapters.postgres_connection import connect, parameters_of
from shared.adapters.table_storage import TableLedger
from shared.domain.errors import MillraceError, Misconfigured, TryLater
from shared.domain.run import Planned, Progress, Run, RunKind, RunState
from shared.settings import Settings
from tests.builders import NOON, document
from tests.postgres_server import PASSWORD

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from azure.core.credentials_async import AsyncTokenCredential

    from tests.postgres_server import Server

RUN = Run(
    id="quakes-1",
    dataset="quakes",
    job="transform",
    state=RunState.PLANNED,
    blobs=2,
    events=10,
    planned_at=NOON,
    due_at=NOON,
)
PLANNED = Progress(
    dataset="quakes",
    planned={"0-x": Planned(sequence=9, blob="b")},
    run_open=RUN.id,
)


@asynccontextmanager
async def ledger_of(address: str) -> AsyncIterator[PostgresLedger]:
    """A ledger as the app opens it."""
    ledger = PostgresLedger(partial(connect, parameters_of(address), None))
    try:
        yield ledger
    finally:
        await ledger.close()


def asked(address: str, *statements: str) -> list[tuple[Any, ...]]:
    """Execute statements as a person would; the rows of the last one."""
    with psycopg.connect(address, autocommit=True) as connection:
        for statement in statements:
            cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


async def test_many_processes_make_the_tables_once(ledger_address: str) -> None:
    """After a deployment all of them start at the same moment, on an empty database."""

    async def first_use() -> Progress:
        async with ledger_of(ledger_address) as ledger:
            return await ledger.progress("quakes")

    found = await asyncio.gather(*(first_use() for _ in range(8)))

    assert found == [Progress(dataset="quakes")] * 8
    assert asked(ledger_address, "SELECT number FROM millrace_migrations") == [
        (number,) for number in sorted(postgres_connection._MIGRATIONS)
    ]


async def test_migration_that_fails_leaves_nothing_of_itself(
    ledger_address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half a migration cannot be repeated, and cannot be mended by the next version."""
    migrations = dict(postgres_connection._MIGRATIONS)
    later = max(migrations) + 1
    bad = migrations | {later: b"CREATE TABLE half (id int); SELECT 1 / 0"}
    monkeypatch.setattr(postgres_connection, "_MIGRATIONS", bad)
    async with ledger_of(ledger_address) as ledger:
        with pytest.raises(psycopg.errors.DivisionByZero):
            await ledger.progress("quakes")
    made = asked(ledger_address, "SELECT to_regclass('half'), to_regclass('runs') IS NOT NULL")
    mended = migrations | {later: b"CREATE TABLE half (id int)"}
    monkeypatch.setattr(postgres_connection, "_MIGRATIONS", mended)

    async with ledger_of(ledger_address) as ledger:
        await ledger.progress("quakes")

    assert made == [(None, True)]
    assert asked(ledger_address, "SELECT count(*) FROM millrace_migrations") == [(later,)]
    assert asked(ledger_address, "SELECT to_regclass('half') IS NOT NULL") == [(True,)]


async def test_older_app_goes_on_over_a_newer_database(ledger_address: str) -> None:
    """While a deployment rolls, both are at work."""
    async with ledger_of(ledger_address) as newer:
        await newer.open_run(RUN, PLANNED)
    asked(
        ledger_address,
        "INSERT INTO millrace_migrations (number) VALUES (999)",
        "ALTER TABLE runs ADD COLUMN new_fact text",
        "ALTER TABLE progress ADD COLUMN new_fact text",
    )

    async with ledger_of(ledger_address) as older:
        assert await older.run("quakes", RUN.id) == RUN
        assert (await older.progress("quakes")).run_open == RUN.id


async def test_role_that_may_only_read_and_write_rows_is_enough(
    postgres: Server, database: str, ledger_address: str
) -> None:
    """Whoever makes the tables by hand can keep the app from changing them."""
    async with ledger_of(ledger_address) as owner:
        await owner.progress("quakes")
    asked(
        ledger_address,
        "CREATE ROLE clerk LOGIN PASSWORD 'plain'",
        "GRANT SELECT, INSERT, UPDATE ON runs, progress TO clerk",
        "GRANT SELECT ON millrace_migrations TO clerk",
    )

    async with ledger_of(postgres.address(database, role="clerk", password="plain")) as clerk:  # noqa: S106 -- Of this server.
        assert await clerk.open_run(RUN, PLANNED)


async def test_crash_between_the_two_rows_leaves_neither(ledger_address: str) -> None:
    """A run without its progress would cover its blobs twice; the other way around, never."""
    async with ledger_of(ledger_address) as ledger:
        await ledger.progress("quakes")
        asked(
            ledger_address,
            "CREATE FUNCTION crash() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NEW; END $$",
            "CREATE TRIGGER crash BEFORE INSERT ON progress EXECUTE FUNCTION crash()",
        )
        with pytest.raises(TryLater):
            await ledger.open_run(RUN, PLANNED)
        left = asked(ledger_address, "SELECT id FROM runs UNION ALL SELECT dataset FROM progress")
        asked(ledger_address, "DROP TRIGGER crash ON progress")

        again = await ledger.open_run(RUN, PLANNED)

        assert (left, again) == ([], True)
        assert await ledger.run("quakes", RUN.id) == RUN


@pytest.mark.parametrize(
    ("role", "error", "words"),
    [
        ("postgres:wrong@", Misconfigured, "password authentication failed"),
        ("nobody:wrong@", Misconfigured, "is the user right"),
        ("idle:plain@", Misconfigured, "needs LOGIN"),
        (
            "stranger:plain@",
            Misconfigured,
            "permission denied for schema public; the role needs CREATE",
        ),
        ("full:plain@", TryLater, "too many connections for role"),
    ],
)
async def test_door_that_is_shut_says_what_to_do(
    ledger_address: str, role: str, error: type[MillraceError], words: str
) -> None:
    """What may pass by itself is tried again; all else names the setting, and never a password."""
    secret = role.partition(":")[2].rstrip("@")
    makers = {
        "idle": "CREATE ROLE idle NOLOGIN PASSWORD 'plain'",
        "stranger": "CREATE ROLE stranger LOGIN PASSWORD 'plain'",
        "full": "CREATE ROLE \"full\" LOGIN PASSWORD 'plain' CONNECTION LIMIT 0",
    }
    if maker := makers.get(role.partition(":")[0]):
        asked(ledger_address, maker)

    async with ledger_of(ledger_address.replace(f"postgres:{PASSWORD}@", role)) as ledger:
        with pytest.raises(error) as caught:
            await ledger.progress("quakes")

    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert secret not in "".join(traceback.format_exception(caught.value))
    assert str(caught.value).startswith("LEDGER " if error is Misconfigured else "PostgreSQL ")


@pytest.mark.parametrize(
    ("address", "error", "words"),
    [
        ("postgresql://me:s3cret@127.0.0.1:1/ledger", TryLater, "Connection refused"),
        ("postgresql://me:s3cret@no-such-host.invalid/ledger", TryLater, "no-such-host.invalid"),
        ("postgresql://me:s3c%zzret@127.0.0.1/ledger", Misconfigured, "of the form"),
        ("postgresql://me:s3cret@127.0.0.1/ledger?color=red", Misconfigured, "of the form"),
        ("postgresql://me:x@s3cret@127.0.0.1:1/ledger", Misconfigured, "@ is written %40"),
        ("postgresql://me:s3cret/x@127.0.0.1:1/ledger", Misconfigured, "/ %2F"),
        ("postgresql://me:x/s3cret@127.0.0.1:1/ledger", Misconfigured, "/ %2F"),
        ("host=127.0.0.1 password=s3cret", Misconfigured, "of the form"),
        ("jdbc:postgresql://me:s3cret@127.0.0.1/ledger", Misconfigured, "of the form"),
    ],
)
async def test_address_that_leads_nowhere_is_one_line_without_its_secret(
    address: str, error: type[MillraceError], words: str
) -> None:
    """It is printed, logged and answered over HTTP."""
    settings = Settings.read({"LEDGER": address})
    ledger = PostgresLedger(connections.ledger_login(settings, None))

    with pytest.raises(error) as caught:
        await ledger.progress("quakes")

    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    told = "".join(traceback.format_exception(caught.value)) + repr(settings) + repr(ledger)
    assert not [secret for secret in ("s3cret", "s3c%zzret") if secret in told]


async def test_database_that_is_absent_is_for_a_person(ledger_address: str) -> None:
    """Nobody else makes it."""
    async with ledger_of(ledger_address + "-of-nobody") as ledger:
        with pytest.raises(Misconfigured, match=r"does not exist; create it"):
            await ledger.runs("quakes")


async def test_database_that_only_answers_readers_is_for_a_person(ledger_address: str) -> None:
    """A replica takes reads for weeks until a run is to be planned."""
    async with ledger_of(ledger_address) as ledger:
        await ledger.progress("quakes")
    address = f"{ledger_address}?options=-cdefault_transaction_read_only%3Don"

    async with ledger_of(address) as ledger:
        assert await ledger.runs("quakes") == []
        with pytest.raises(Misconfigured, match="a copy that is only read"):
            await ledger.open_run(RUN, PLANNED)


async def test_connection_that_the_server_ended_is_replaced(ledger_address: str) -> None:
    """A failover is one failed step, which the host repeats."""
    async with ledger_of(ledger_address) as ledger:
        await ledger.progress("quakes")
        _end_connections(ledger_address)
        with pytest.raises(TryLater):
            await ledger.progress("quakes")

        assert await ledger.open_run(RUN, PLANNED)


async def test_connection_idle_for_long_is_not_trusted(
    ledger_address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What stands between may have forgotten it; a command after a quiet hour must not fail."""
    async with ledger_of(ledger_address) as ledger:
        await ledger.progress("quakes")
        _end_connections(ledger_address)
        monkeypatch.setattr(adapter, "_IDLE_LIMIT_S", -1)

        assert await ledger.progress("quakes") == Progress(dataset="quakes")


def _end_connections(address: str) -> None:
    asked(
        address,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE application_name = 'millrace' AND datname = current_database()",
    )


async def test_server_that_never_answers_is_given_up(
    ledger_address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hung server must not hold a function until its time is over, nor a person."""
    monkeypatch.setattr(adapter, "_ANSWER_LIMIT_S", 0.3)
    async with ledger_of(ledger_address) as ledger:
        await ledger.progress("quakes")
        ((pid,),) = asked(
            ledger_address, "SELECT pid FROM pg_stat_activity WHERE application_name = 'millrace'"
            " AND datname = current_database()",
        )  # fmt: skip
        os.kill(pid, signal.SIGSTOP)
        try:
            with pytest.raises(TryLater, match="while reading the progress of quakes"):
                await ledger.progress("quakes")
            meanwhile = await ledger.progress("quakes")
        finally:
            os.kill(pid, signal.SIGCONT)

    assert meanwhile == Progress(dataset="quakes")


async def test_step_that_is_cancelled_leaves_a_ledger_that_works(ledger_address: str) -> None:
    """A host that shuts down, or an impatient person, stops it anywhere."""
    async with ledger_of(ledger_address) as ledger:
        await ledger.progress("quakes")
        with closing(psycopg.connect(ledger_address)) as other:
            other.execute("LOCK TABLE progress")
            waiting = asyncio.create_task(ledger.open_run(RUN, PLANNED))
            while not asked(ledger_address, "SELECT 1 FROM pg_locks WHERE NOT granted"):  # noqa: ASYNC110 -- The event happens in the server.
                await asyncio.sleep(0.01)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting

        assert await ledger.runs("quakes") == []
        assert await ledger.open_run(RUN, PLANNED)


@dataclass
class Identity:
    """A managed identity: what it gives next, or why it does not."""

    token: str = ""
    error: Exception | None = None
    scopes: list[str] = field(default_factory=list)

    async def get_token(self, *scopes: str) -> AccessToken:
        """Note what it is for."""
        self.scopes += scopes
        if self.error:
            raise self.error
        return AccessToken(self.token, 0)


def by_identity(address: str, identity: Identity) -> PostgresLedger:
    """A ledger whose address has no password."""
    settings = Settings.read({"LEDGER": address})
    credential = cast("AsyncTokenCredential", identity)
    return PostgresLedger(connections.ledger_login(settings, credential))


async def test_identity_signs_in_with_a_new_token_each_time(
    postgres: Server, database: str, ledger_address: str
) -> None:
    """A token lives for an hour; it is a password, so it travels over TLS only."""
    make = "CREATE ROLE app LOGIN PASSWORD 'token-1'"
    asked(ledger_address, make, f"ALTER DATABASE {database} OWNER TO app")
    identity = Identity(token="token-1")  # noqa: S106 -- Of this server.
    address = f"postgresql://app@ledger.example/{database}?hostaddr=127.0.0.1&port={postgres.port}"
    ledger = by_identity(f"{address}&sslmode=disable", identity)
    try:
        first = await ledger.open_run(RUN, PLANNED)
        encrypted = asked(
            ledger_address,
            "SELECT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE usename = 'app'",
        )
        asked(ledger_address, "ALTER ROLE app PASSWORD 'token-2'")
        identity.token = "token-2"  # noqa: S105
        _end_connections(ledger_address)
        with pytest.raises(TryLater):
            await ledger.runs("quakes")
        second = await ledger.runs("quakes")
    finally:
        await ledger.close()

    assert (first, encrypted, second) == (True, [(True,)], [RUN])
    assert identity.scopes == ["https://ossrdbms-aad.database.windows.net/.default"] * 2


@pytest.mark.parametrize(
    ("problem", "error"),
    [
        (ClientAuthenticationError("no identity\nattempted: five"), Misconfigured),
        (ServiceRequestError("the token service is away"), TryLater),
    ],
)
async def test_identity_without_token_says_so_in_a_line(
    problem: Exception, error: type[MillraceError]
) -> None:
    """Azure's own explanation is a page long."""
    ledger = by_identity("postgresql://app@ledger.example/ledger", Identity(error=problem))

    with pytest.raises(error) as caught:
        await ledger.progress("quakes")

    assert str(problem).splitlines()[0] in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("address", "needed"),
    [
        ("postgresql://app@x.postgres.database.azure.com/ledger", True),
        ("postgresql://app:secret@x.postgres.database.azure.com/ledger", False),
        ("postgresql://app@localhost/ledger", False),
        ("postgresql:///ledger", False),
        ("postgresql:///ledger?host=/run/postgresql", False),
        ("nonsense", False),
        ("", False),
    ],
)
async def test_identity_is_made_only_for_an_address_that_needs_it(
    address: str, *, needed: bool
) -> None:
    """On a developer's machine there is none, and looking for it takes seconds."""
    strings = {"LAKE": "x", "EVENT_HUBS": "x", "DATABRICKS_TOKEN": "x"}
    settings = Settings.read(strings | {"LEDGER": address})

    identity = connections.identity_for(settings)

    assert (identity is not None) == needed
    if identity:
        await identity.close()


async def test_setting_chooses_the_ledger(azurite: str, ledger_address: str) -> None:
    """One line of configuration, and nothing is connected before it is used."""
    settings = {"LAKE": azurite, "EVENT_HUBS": "x", "DATABRICKS_TOKEN": "x"}
    chosen = Settings.read(settings | {"LEDGER": ledger_address})

    async with wiring.connected(Settings.read(settings), document()) as app:
        assert isinstance(app.ledger, TableLedger)
    async with wiring.connected(chosen, document()) as app:
        assert isinstance(app.ledger, PostgresLedger)
        assert await app.ledger.open_run(RUN, PLANNED)

    assert asked(ledger_address, "SELECT dataset, id FROM runs") == [("quakes", RUN.id)]


async def test_people_ask_typed_columns_and_views(ledger_address: str) -> None:
    """Whoever knows SQL needs to know nothing else."""
    async with ledger_of(ledger_address) as ledger:
        await ledger.open_run(RUN, PLANNED)
        ended = (await ledger.runs("quakes"))[0].to(RunState.LAUNCHED).to(
            RunState.SUCCEEDED,
            ended_at=NOON + timedelta(seconds=50),
            counts={"records": 1000, "inserted": 990, "tableVersion": 3, "other": 1},
        )  # fmt: skip
        progress = await ledger.progress("quakes")
        await ledger.close_run(ended, progress.after(ended))
        tidying = replace(RUN, id="quakes-m", kind=RunKind.MAINTENANCE, message="late")
        progress = await ledger.progress("quakes")
        await ledger.open_run(tidying, replace(progress, run_open="quakes-m"))

    asked(
        ledger_address,
        "UPDATE runs SET planned_at = now() - interval '1 hour' WHERE id <> 'quakes-1'",
    )

    counts = asked(
        ledger_address,
        "SELECT records, inserted, updated, table_version, counts ->> 'other'"
        " FROM runs WHERE state = 'succeeded'",
    )
    times = asked(
        ledger_address,
        "SELECT id, ended_at - planned_at = duration, records_per_second,"
        " duration BETWEEN '1 hour' AND '2 hours' FROM run_times ORDER BY id",
    )
    lag = asked(
        ledger_address,
        "SELECT run_open, state, message, succeeded, failed, succeeded_at,"
        " waiting BETWEEN '1 hour' AND '2 hours', now() - succeeded_at = since_success"
        " FROM dataset_lag",
    )
    partitions = asked(ledger_address, "SELECT * FROM planned_partitions")
    assert counts == [(1000, 990, None, 3, "1")]
    assert times == [("quakes-1", True, 20, False), ("quakes-m", None, None, True)]
    assert lag == [("quakes-m", "planned", "late", 1, 0, ended.ended_at, True, True)]
    assert partitions == [("quakes", "0-x", 9, "b")]
