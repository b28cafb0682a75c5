"""Fixtures of the contracts: a real PostgreSQL, started once, and a database for each test."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

import psycopg
import pytest

from tests.conftest import free_ports
from tests.postgres_server import INSTALL, programs, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.postgres_server import Server

_DATABASES = (f"ledger{number}" for number in count(1))


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """A server that lives as long as the tests; without its programs they are skipped."""
    folder = programs()
    if folder is None:
        pytest.skip(INSTALL)
    with serving(folder, port=free_ports(1)[0]) as server:
        yield server


@pytest.fixture
def database(postgres: Server) -> str:
    """Name of an empty database."""
    name = next(_DATABASES)
    with psycopg.connect(postgres.address("postgres"), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    return name


@pytest.fixture
def ledger_address(postgres: Server, database: str) -> str:
    """Connection string of an empty database, whose owner is its user."""
    return postgres.address(database)
