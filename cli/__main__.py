"""`millrace`: one command a module; an error is one line on standard error and exit code 1."""

from __future__ import annotations

import sys

import typer

from cli.audit import audit
from cli.plan import plan
from cli.poll import poll
from cli.quarantine import quarantine
from cli.query import query
from cli.replay import replay
from cli.runs import runs
from cli.sql import sql
from cli.status import status
from cli.up import demo, up
from cli.validate import schema, validate
from cli.wait import wait
from shared.domain.errors import MillraceError

commands = typer.Typer(
    help="Turn any third-party tool that only answers HTTP GET into a SQL table.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for command in (validate, plan, up, demo, poll, status, wait, query, audit, replay, schema):
    commands.command()(command)
commands.add_typer(quarantine, name="quarantine")
commands.add_typer(runs, name="runs")
commands.add_typer(sql, name="sql")


def main() -> None:
    """Run a command; what Millrace raises on purpose is shown without a traceback."""
    try:
        commands()
    except MillraceError as error:
        sys.stderr.write(f"millrace: {error}\n")
        raise SystemExit(1) from error
    except KeyboardInterrupt:
        raise SystemExit(130) from None


if __name__ == "__main__":
    main()
