"""The scripts of a deployment, run for real with programs that only note how they were called."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
#: Each program notes its name and arguments; then it does what a file named after it says, if any.
PROGRAM = """#!/usr/bin/env bash
name=${0##*/}
printf '%s %s\\n' "$name" "$*" >> "$NOTES"
[[ ! -f "$FOLDER/$name.sh" ]] || source "$FOLDER/$name.sh"
"""
OUTPUTS = {
    "ACTION_GROUP_ID": "the-group",
    "AZURE_ENV_NAME": "dev",
    "AZURE_RESOURCE_GROUP": "rg",
    "DATABRICKS_CONNECTOR_ID": "the-connector",
    "DEAD_LETTER_CONTAINER": "dead-letters",
    "EVENT_GRID_TOPIC_NAME": "topic",
    "EVENT_HUBS_NAMESPACE": "hubs.servicebus.windows.net",
    "FUNCTION_APP_NAME": "app",
    "HOST_STORAGE_NAME": "host",
    "IDENTITY_CLIENT_ID": "the-identity",
    "LAKE_NAME": "lake",
    "MILLRACE_SIZE": "dev",
    "PIPELINE_NAME": "quakes-dev",
    "SYNAPSE_DATABASE": "quakes_dev",
    "SYNAPSE_NAME": "syn",
}


class Machine:
    """A machine on which the programs of a deployment are replaced by ones that take notes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._bin = folder / "bin"
        self._bin.mkdir()
        for name in ("az", "databricks", "curl", "date", "python3", "sleep"):
            (self._bin / name).write_text(PROGRAM)
            (self._bin / name).chmod(0o755)
        self.does(curl="echo 192.0.2.1", databricks="echo '[]'", date="echo 2026-11-01")

    def does(self, **programs: str) -> None:
        """Say what programs do, in bash."""
        for name, text in programs.items():
            (self._folder / f"{name}.sh").write_text(f"{text}\n")

    def release(self, *arguments: str, **environment: str) -> tuple[int, list[str]]:
        """Deploy a release; the exit code, and every call in order."""
        return self._run("release.sh", *arguments, **OUTPUTS | environment)

    def remove(self) -> tuple[int, list[str]]:
        """Remove an environment; the exit code, and every call in order."""
        return self._run("remove.sh", AZURE_ENV_NAME="dev")

    def _run(self, script: str, *arguments: str, **environment: str) -> tuple[int, list[str]]:
        notes = self._folder / "notes"
        notes.unlink(missing_ok=True)
        given = {
            "PATH": f"{self._bin}:{os.environ['PATH']}",
            "NOTES": str(notes),
            "FOLDER": str(self._folder),
        }
        answer = subprocess.run(
            ["bash", ROOT / "infra/deploy" / script, *arguments],  # noqa: S607 -- Whichever bash there is.
            cwd=ROOT,
            env=given | environment,
            capture_output=True,
            check=False,
        )
        return answer.returncode, notes.read_text().splitlines()


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A machine where everything succeeds."""
    return Machine(tmp_path)


def at(calls: list[str], *parts: str) -> int:
    """Where the one call is that has all of these in it."""
    (found,) = [index for index, call in enumerate(calls) if all(part in call for part in parts)]
    return found


def test_steps_come_in_the_order_in_which_each_can_succeed(machine: Machine) -> None:
    """The key of the endpoint is there after the code, views after the endpoint has let us in."""
    code, calls = machine.release(SMOKE_TEST_TOKEN="t1")  # noqa: S106 -- No password.
    order = [
        at(calls, "az deployment group create", "budget.bicep"),
        at(calls, "az functionapp deployment source config-zip", "--src functions.zip"),
        at(calls, "az deployment group create", "event-grid.bicep"),
        at(calls, "databricks service-principals create", "the-identity"),
        at(calls, "databricks bundle deploy --target dev", "lake_name=lake"),
        at(calls, "firewall-rule create", "--start-ip-address 192.0.2.1"),
        at(calls, "python3 -m infra.deploy.synapse sql/dev"),
        at(calls, "python3 -m infra.deploy.smoke_test t1"),
        at(calls, "firewall-rule delete"),
    ]

    assert code == 0
    assert order == sorted(order)


@pytest.mark.parametrize(
    ("answer", "month"), [("2026-09-01T00:00:00+00:00", "2026-09-01"), ("", "2026-11-01")]
)
def test_budget_keeps_the_month_it_began_in(machine: Machine, answer: str, month: str) -> None:
    """The service refuses another month: deployments would fail from the second month on."""
    machine.does(az=f'[[ "$*" != *"budget list"* ]] || echo "{answer}"')

    _, calls = machine.release()

    assert at(calls, "budget.bicep", "name=budget-quakes-dev", f"startDate={month}")


def test_event_grid_waits_until_the_host_has_its_key(machine: Machine) -> None:
    """The host needs a while to load the code: an error at first is no reason to stop."""
    machine.does(
        az='[[ "$*" != *event-grid* || -f "$FOLDER/2" ]] || { touch "$FOLDER/2"; exit 1; }'
    )

    code, calls = machine.release()

    assert code == 0
    assert len([call for call in calls if "event-grid.bicep" in call]) == 2
    assert "sleep 30" in calls


def test_endpoint_is_shut_again_when_the_views_fail(machine: Machine) -> None:
    """A deployment that breaks leaves no door open, and says that it has failed."""
    machine.does(python3='[[ "$*" != *sql/dev* ]] || exit 1')

    code, calls = machine.release()

    assert code != 0
    assert at(calls, "firewall-rule create") < at(calls, "firewall-rule delete")
    assert not [call for call in calls if "smoke_test" in call]


def test_what_the_workspace_knows_is_not_made_twice(machine: Machine) -> None:
    """Every deployment after the first finds principal and credential."""
    machine.does(databricks="echo the-identity")

    _, calls = machine.release()

    assert not [call for call in calls if call.startswith("databricks") and " create " in call]


def test_everything_but_the_code_can_be_deployed(machine: Machine) -> None:
    """Jobs and views can be mended without an update of the app."""
    code, calls = machine.release("--without-code")

    assert code == 0
    assert not [call for call in calls if "config-zip" in call]


#: What `az` answers where there is an environment; a deployment that broke has put nothing out.
THERE = """
case "$*" in
  *"group list"*) echo rg-quakes-dev ;;
  *"keyvault list"*) echo kv ;;
  *"deployment sub show"*) echo "$SHOWN" ;;
esac
"""


@pytest.mark.parametrize("shown", ["", "some outputs"])
def test_environment_is_removed_even_if_its_deployment_broke(machine: Machine, shown: str) -> None:
    """What nobody removes costs money every hour, and a first deployment breaks most easily."""
    machine.does(
        az=f"SHOWN='{shown}'\n{THERE}",
        python3="echo 'export MILLRACE_SIZE=branch PIPELINE_NAME=quakes-dev'",
    )

    code, calls = machine.remove()

    assert code == 0
    assert at(calls, "az group delete --name rg-quakes-dev") < at(calls, "az keyvault purge")
    assert bool([call for call in calls if "storage-credentials delete" in call]) is bool(shown)


def test_production_is_not_removed(machine: Machine) -> None:
    """Not even its places in the catalog, which no lock protects."""
    machine.does(az=f"SHOWN=outputs\n{THERE}", python3="echo 'export MILLRACE_SIZE=prod'")

    code, calls = machine.remove()

    assert code != 0
    assert not [call for call in calls if " delete " in call]
