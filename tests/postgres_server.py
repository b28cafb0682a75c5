"""A real PostgreSQL of the tests' own, from whatever packages the machine has."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

if TYPE_CHECKING:
    from collections.abc import Iterator

INSTALL = "no PostgreSQL here; these tests run once it is installed: apt-get install postgresql"
PASSWORD = "only-of-the-tests"  # noqa: S105 -- Of a server that lives as long as the tests.
_PLACES = "/usr/lib/postgresql/*/bin", "/opt/homebrew/opt/postgresql*/bin", "/usr/pgsql-*/bin"
#: The server refuses to be root's; either of these has no rights and no shell of anybody.
_ACCOUNTS = ("postgres", "nobody")
#: Serve until standard input ends, however that comes about, then leave nothing behind.
_SERVE = 'programs=$1 place=$2; shift 2; "$programs/postgres" -D "$place/db" "$@" & cat; kill -QUIT $!; wait; rm -rf "$place"'  # fmt: skip  # noqa: E501


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """Where it listens; the role `postgres` may do everything."""

    port: int

    def address(self, database: str, *, role: str = "postgres", password: str = PASSWORD) -> str:
        """Connection string of a database."""
        return f"postgresql://{role}:{password}@127.0.0.1:{self.port}/{database}"


def programs() -> Path | None:
    """The folder of `initdb` and `postgres`; the newest of several."""
    found = shutil.which("initdb")
    folders = [Path(found).resolve().parent] if found else []
    for pattern in _PLACES:
        folders += sorted(Path("/").glob(pattern[1:]), reverse=True)
    whole = (
        each for each in folders if (each / "initdb").exists() and (each / "postgres").exists()
    )
    return next(whole, None)


@contextmanager
def serving(folder: Path, *, port: int) -> Iterator[Server]:
    """A new server with the programs of `folder`; it ends with whoever holds it, even if killed."""
    account = _account()
    # Directly below the temporary folder: pytest's own folders let no other account in.
    place = Path(tempfile.mkdtemp(prefix="millrace-postgres-"))
    try:
        if account:
            shutil.chown(place, account["user"], account["group"])
        _initialise(folder, place, account)
        options = ["-p", str(port), "-c", "listen_addresses=127.0.0.1", "-k", str(place)]
        options += ["-c", "fsync=off", "-c", "ssl=on", "-c", "timezone=Asia/Kolkata"]
        with (
            (place / "log").open("wb") as log,
            subprocess.Popen(
                ["/bin/sh", "-c", _SERVE, "sh", folder, place, *options],
                stdin=subprocess.PIPE, stdout=log, stderr=log, cwd=place,
                start_new_session=True, **account,
            ) as process,
        ):  # fmt: skip
            _wait_until_ready(folder, process, port=port, log=place / "log")
            yield Server(port=port)
            process.communicate()  # Closes its standard input, and waits.
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _account() -> dict[str, Any]:
    """Arguments that make a process somebody else's, when it would be root's."""
    if os.geteuid() != 0:
        return {}
    known = {each.pw_name: each for each in pwd.getpwall()}
    found = next(known[name] for name in _ACCOUNTS if name in known)
    return {"user": found.pw_uid, "group": found.pw_gid, "extra_groups": []}


def _initialise(folder: Path, place: Path, account: dict[str, Any]) -> None:
    secret = place / "password"
    secret.touch(mode=0o644)  # Within a folder that only the account may enter.
    secret.write_text(PASSWORD)
    subprocess.run(
        [str(folder / "initdb"), f"--pgdata={place / 'db'}", "--username=postgres", "--no-sync",
         "--auth=scram-sha-256", f"--pwfile={secret}", "--encoding=UTF8", "--locale=C"],
        check=True, capture_output=True, cwd=place, **account,
    )  # fmt: skip
    key, certificate = _certificate()
    for name, content in (("server.key", key), ("server.crt", certificate)):
        path = place / "db" / name
        path.touch(mode=0o600)
        path.write_bytes(content)
        if account:
            shutil.chown(path, account["user"], account["group"])


def _certificate() -> tuple[bytes, bytes]:
    """A key, and a certificate that nobody trusts: enough for a line that nobody can read."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    day = datetime(2020, 1, 1, tzinfo=UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(day)
        .not_valid_after(day + timedelta(days=40_000))
        .sign(key, hashes.SHA256())
    )
    text = serialization.Encoding.PEM
    plain = serialization.NoEncryption()
    return (
        key.private_bytes(text, serialization.PrivateFormat.TraditionalOpenSSL, plain),
        certificate.public_bytes(text),
    )


def _wait_until_ready(
    folder: Path, process: subprocess.Popen[bytes], *, port: int, log: Path
) -> None:
    ask = [
        str(folder / "pg_isready"),
        "--quiet",
        "--host=127.0.0.1",
        f"--port={port}",
        "--timeout=1",
    ]
    for _ in range(600):
        if subprocess.run(ask, check=False).returncode == 0:
            return
        try:
            process.wait(timeout=0.1)
        except subprocess.TimeoutExpired:
            continue
        break
    raise RuntimeError(f"PostgreSQL did not start: {log.read_text(errors='replace')[-2000:]}")
