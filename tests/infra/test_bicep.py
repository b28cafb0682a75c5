"""The Bicep templates: what can be checked of them without a compiler."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.infra import bicep_check
from tests.infra.bicep_plan import plan
from tests.infra.bicep_syntax import Declaration, read, said

ROOT = Path(__file__).parents[2]
MAIN = ROOT / "infra/bicep/main.bicep"
TEMPLATES = sorted((ROOT / "infra").rglob("*.bicep"))
PARAMETERS = sorted((ROOT / "infra/bicep").glob("*.bicepparam"))
OPERATORS = {"name": "operators", "objectId": "the-operators"}


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: str(path.relative_to(ROOT)))
def test_template_hangs_together(path: Path) -> None:
    """Names, modules with their parameters and outputs, files and API versions all exist."""
    assert not bicep_check.findings(path)


MISTAKES = {
    "an unknown name": (
        "${document.name}-${environmentName}",
        "${document.name}-${environment_name}",
    ),
    "an unused parameter": ("param location", "param unused string\nparam location"),
    "a missing parameter": ("    vaultUri: vault.outputs.uri\n", ""),
    "an unknown parameter": ("    vaultUri: vault", "    vaultUrl: vault"),
    "a module of nowhere": ("  scope: group\n", ""),
    "an unknown key of a module": ("  name: 'identity'", "  nmae: 'identity'"),
    "an unknown output": ("vault.outputs.uri\n", "vault.outputs.url\n"),
    "a missing module": ("'modules/lake.bicep'", "'modules/lakes.bicep'"),
    "a missing brace": ("module lake '", "module lake2 {\nmodule lake '"),
    "another API version": ("resourceGroups@2025-04-01", "resourceGroups@2020-01-01"),
    "a name twice": ("var prefix =", "var tags = {}\nvar prefix ="),
    "a missing file": ("loadJsonContent('sizes.json')", "loadJsonContent('size.json')"),
    "a lambda the grammar misreads": ("tag => (tag.key)", "tag => tag.key"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistake_is_found(mistake: str, tmp_path: Path) -> None:
    """A check that finds nothing is worth nothing: each mistake is made in a copy."""
    right, wrong = MISTAKES[mistake]
    text = MAIN.read_text()
    assert right in text
    copy = tmp_path / "infra/bicep/main.bicep"
    copy.parent.mkdir(parents=True)
    for path in (*TEMPLATES, *(ROOT / "infra").rglob("*.json")):
        target = tmp_path / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    (tmp_path / "pipeline.json").write_bytes((ROOT / "pipeline.json").read_bytes())
    copy.write_text(text.replace(right, wrong, 1))

    found = bicep_check.findings(copy)

    assert found


def test_no_module_comes_from_a_registry() -> None:
    """What is fetched while deploying can neither be read here nor checked."""
    for path in TEMPLATES:
        for module in read(path).of("module"):
            assert not re.match(r"(br|ts)[:/]", module.title)


def test_roles_are_the_built_in_ones() -> None:
    """A wrong digit in a role is a right that nobody meant, or a deployment that fails."""
    known = {
        "eventHubsDataSender": "2b629674-e913-4c01-ae53-ef4638d8f975",
        "eventHubsDataReceiver": "a638d3c7-ab3a-418d-83e6-5f17a39d4fde",
        "storageBlobDataOwner": "b7e6dc6d-f1e8-4753-8033-0f276bb0955b",
        "storageBlobDataContributor": "ba92f5b4-2d11-453d-a403-e96b0029c9fe",
        "storageBlobDataReader": "2a2b9908-6ea1-4ae2-8e65-a410df84e7d1",
        "storageBlobDelegator": "db58b8e5-c6ad-4a2a-8342-4190687cbf4a",
        "storageQueueDataContributor": "974c5e8b-45b9-4653-ba55-5f855dd0fb88",
        "storageTableDataContributor": "0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3",
        "storageTableDataReader": "76199698-9eea-4c19-bc75-cec21354c6b6",
        "keyVaultSecretsUser": "4633458b-17de-408a-b874-0445c86b69e6",
        "keyVaultSecretsOfficer": "b86a8fe4-44ce-4948-aee5-eccb2c155cd7",
        "monitoringMetricsPublisher": "3913510d-42f4-4e42-8a64-420c390055eb",
        "logAnalyticsReader": "73c42c96-874c-492b-b04d-ab87d138a893",
    }
    roles = json.loads((ROOT / "infra/bicep/roles.json").read_text())
    text = "".join(path.read_text() for path in TEMPLATES)

    assert roles == known
    assert not re.search(r"'[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}'", text)


@pytest.mark.parametrize("path", PARAMETERS, ids=lambda path: path.name)
def test_parameter_file_fits_the_template(path: Path) -> None:
    """A parameter that the template does not know stops a deployment before it begins."""
    given = {each.name: each for each in read(path).of("var")}
    known = {each.name: each for each in read(MAIN).of("param")}

    assert path.read_text().splitlines().count("using 'main.bicep'") == 1
    assert not given.keys() - known.keys()
    assert not [name for name in known.keys() - given.keys() if known[name].value is None]


def test_environments_differ_in_size_and_name_only() -> None:
    """What is tried in one environment must be what another one gets."""

    def written(path: Path) -> dict[str, str]:
        return {each.name: _value(each) for each in read(path).of("var")}

    every = [written(path) for path in PARAMETERS]

    assert {path.stem for path in PARAMETERS} == {"dev", "staging", "prod", "branch", "main"}
    for found in every:
        for name in ("environmentName", "size"):
            found.pop(name)
        assert found == every[0]


def _value(declaration: Declaration) -> str:
    assert declaration.value is not None
    return said(declaration.value)


@pytest.mark.parametrize("private", [False, True])
@pytest.mark.parametrize("size", ["branch", "dev", "staging", "prod"])
def test_every_size_can_be_worked_out(size: str, private: bool) -> None:  # noqa: FBT001 -- pytest's.
    """Sizes fit the types and limits of the modules, with and without the private network."""
    resources, outputs = plan(
        MAIN, environmentName="any", size=size, operators=OPERATORS, privateNetwork=private
    )
    names = [(each.type, each.scope, each.name) for each in resources]

    assert len(names) == len(set(names))
    assert outputs["FUNCTION_APP_NAME"].startswith("func-")
    assert ("Microsoft.Network/virtualNetworks" in {each.type for each in resources}) is private


def test_names_are_legal_and_belong_to_one_environment() -> None:
    """Two environments never touch the same resource, whatever they are called."""
    first, _ = plan(MAIN, environmentName="one", operators=OPERATORS)
    second, _ = plan(MAIN, environmentName="a-branch-with-a-rather-long-name", operators=OPERATORS)
    legal = {
        "Microsoft.Storage/storageAccounts": r"[a-z0-9]{3,24}",
        "Microsoft.KeyVault/vaults": r"[a-zA-Z][a-zA-Z0-9-]{1,22}[a-zA-Z0-9]",
        "Microsoft.EventHub/namespaces": r"[a-zA-Z][a-zA-Z0-9-]{4,48}[a-zA-Z0-9]",
        "Microsoft.Synapse/workspaces": r"[a-z0-9]{1,50}",
        "Microsoft.Databricks/workspaces": r"[a-zA-Z0-9_-]{3,64}",
        "Microsoft.Web/sites": r"[a-zA-Z0-9][a-zA-Z0-9-]{0,58}[a-zA-Z0-9]",
        "Microsoft.Resources/resourceGroups": r"[-\w.()]{1,89}[-\w()]",
    }
    top = [each for each in (*first, *second) if each.type in legal]

    assert len(top) == 2 * (len(legal) + 1)
    assert len({(each.type, each.name) for each in top}) == len(top)
    for each in top:
        assert re.fullmatch(legal[each.type], each.name), each
