"""PostgreSQL: how a connection is opened, what its errors mean, and its migrations.

An address without a password that leads to another machine is one of Azure: there the managed
identity's token is the password. What is known of the address is never repeated in an error.
"""

from __future__ import annotations

import asyncio
import os
import re
import socket
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from psycopg import AsyncConnection, Error, InternalError, OperationalError, ProgrammingError
from psycopg import errors as postgres_errors
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import dict_row

from shared.domain.errors import Misconfigured, TryLater

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping

    from psycopg.rows import DictRow

    from shared.domain.errors import MillraceError

    type Connection = AsyncConnection[DictRow]

SETTING = "LEDGER"
_SCHEMES = ("postgresql://", "postgres://")
_FORM = (
    "is no address of the form postgresql://user@host/database?sslmode=require; "
    "in a user or password, @ is written %40, : %3A and / %2F"
)
_PORTS = re.compile(r"[0-9,]*")  # One for each of several hosts.
_THIS_MACHINE = ("localhost", "127.0.0.1", "::1")
_USUAL = {
    "application_name": "millrace",
    "connect_timeout": "10",
    "gssencmode": "disable",  # One round trip less; whoever uses Kerberos says so.
    "keepalives_idle": "30",  # Azure's load balancers forget a silent connection after minutes.
}
_PLAIN_SSL_MODES = ("", "disable", "allow", "prefer")
#: Any number will do, as long as every version of the app takes the same one.
_MIGRATION_LOCK = 0x6D_69_6C_6C
_MIGRATIONS = {
    int(path.name.partition("_")[0]): path.read_bytes()
    for path in sorted(Path(__file__).parent.joinpath("migrations").glob("*.sql"))
}
#: Made below the lock. Asking for its name there could be answered from before the lock.
_MIGRATIONS_TABLE = """
CREATE TABLE IF NOT EXISTS millrace_migrations (
    number integer PRIMARY KEY,
    applied_at timestamptz NOT NULL DEFAULT now()
)"""
#: What a server says to whom it does not let in, and what a person does about it. The protocol has
#: codes for these, but the client library keeps them to itself until a connection is open.
_REFUSALS = {
    "password authentication failed": "is the user right, and its password or identity?",
    "no password supplied": "add a password, or use an identity",
    "access token": "the user must be called like the identity, and be a role of the database",
    "no pg_hba.conf entry": "the server lets nobody in from here: look at its access rules",
    "is not permitted to log in": "the role needs LOGIN",
    "permission denied for database": "the role needs CONNECT on the database",
    "does not exist": "create it, or correct the address",
    "SSL was required": "turn on TLS on the server",
    "certificate": "look at sslmode and sslrootcert in the address",
}
_FOR_A_PERSON = {
    postgres_errors.InsufficientPrivilege: (
        "the role needs CREATE on the schema, or SELECT, INSERT and UPDATE on its tables"
    ),
    postgres_errors.ReadOnlySqlTransaction: "the address leads to a copy that is only read",
    postgres_errors.UndefinedTable: "somebody removed it: restore the database",
    postgres_errors.UndefinedColumn: "somebody changed the table: restore the database",
}


def parameters_of(address: str) -> dict[str, str]:
    """The address's parts, with what it leaves open; raises `Misconfigured`.

    A password with a character that has a meaning in addresses is torn apart there, and a piece of
    it is taken for a host or a port, which errors name: such an address is refused.
    """
    if not address.startswith(_SCHEMES):
        raise Misconfigured(SETTING, _FORM)
    try:
        parts = conninfo_to_dict(address)
    except ProgrammingError:
        raise Misconfigured(SETTING, _FORM) from None  # It quotes what may be the password.
    found = {name: str(value) for name, value in parts.items() if value is not None}
    is_torn = any("@" in found.get(name, "") for name in ("host", "dbname"))
    if is_torn or not _PORTS.fullmatch(found.get("port", "")):
        raise Misconfigured(SETTING, _FORM)
    return _USUAL | found


def needs_token(parameters: Mapping[str, str]) -> bool:
    """Whether the password is the identity's token."""
    host = parameters.get("host", "")
    is_near = not host or host.startswith("/") or host in _THIS_MACHINE
    return not is_near and "password" not in parameters


async def connect(
    parameters: Mapping[str, str], token: Callable[[], Awaitable[str]] | None
) -> Connection:
    """Open a connection; raises `TryLater` and `Misconfigured`.

    `token` is asked each time when it is needed at all: it lives about an hour, and only the
    beginning of a connection looks at it. It never travels in the clear.
    """
    chosen = dict(parameters)
    if needs_token(parameters):
        assert token, "an address without a password comes with an identity"
        chosen["password"] = await token()
        if chosen.get("sslmode", "") in _PLAIN_SSL_MODES:
            chosen["sslmode"] = "require"
    try:
        # Prepared statements would break behind PgBouncer, and these are too few to be worth it.
        return await AsyncConnection.connect(
            make_conninfo(**chosen), autocommit=True, prepare_threshold=None, row_factory=dict_row
        )
    except Error as error:
        raise _not_let_in(error) from error


async def migrate(connection: Connection) -> None:
    """Apply the migrations that the database lacks, in order, each wholly or not at all.

    May be called by several processes at once: each waits for the one that is at it, and finds the
    work done. A database that is further than this app is left as it is.
    """
    with translated("preparing its tables"):
        if await _is_current(connection):
            return  # Without writing: an app's role need not be allowed to make tables.
        for number, script in _MIGRATIONS.items():
            async with connection.transaction():
                await connection.execute("SELECT pg_advisory_xact_lock(%s)", (_MIGRATION_LOCK,))
                await connection.execute(_MIGRATIONS_TABLE)
                if number not in await _applied(connection):
                    await connection.execute(script)
                    await connection.execute(
                        "INSERT INTO millrace_migrations (number) VALUES (%s)", (number,)
                    )


async def _is_current(connection: Connection) -> bool:
    """Whether nothing is to be done; without a lock it may say no too often, but never yes."""
    cursor = await connection.execute("SELECT to_regclass('millrace_migrations') AS found")
    row = await cursor.fetchone()
    is_made = row is not None and row["found"] is not None
    return is_made and _MIGRATIONS.keys() <= await _applied(connection)


async def _applied(connection: Connection) -> set[int]:
    cursor = await connection.execute("SELECT number FROM millrace_migrations")
    return {row["number"] for row in await cursor.fetchall()}


@contextmanager
def cut_after(connection: Connection, limit_s: float) -> Iterator[None]:
    """Break the connection's line when it is still in use after the limit.

    Cancelling does not do: the library waits for the server to agree to it.
    """

    def cut() -> None:
        with socket.socket(fileno=os.dup(connection.fileno())) as line:
            line.shutdown(socket.SHUT_RDWR)

    watch = asyncio.get_running_loop().call_later(limit_s, cut)
    try:
        yield
    finally:
        watch.cancel()


@contextmanager
def translated(doing: str) -> Iterator[None]:
    """Turn the errors of an open connection into what the caller must do."""
    try:
        yield
    except tuple(_FOR_A_PERSON) as error:
        advice = next(text for kind, text in _FOR_A_PERSON.items() if isinstance(error, kind))
        problem = f"refused while {doing}: {_first_line(error)}; {advice}"
        raise Misconfigured(SETTING, problem) from error
    except (OperationalError, InternalError) as error:
        raise TryLater(f"PostgreSQL failed while {doing}: {_first_line(error)}") from error


def _not_let_in(error: Error) -> MillraceError:
    text = _first_line(error).removeprefix("connection failed: ")
    for words, advice in _REFUSALS.items():
        if words in text:
            return Misconfigured(SETTING, f"does not let us in: {text}; {advice}")
    return TryLater(f"PostgreSQL cannot be reached: {text}")


def _first_line(error: Error) -> str:
    return (error.diag.message_primary or str(error) or type(error).__name__).splitlines()[0]
