"""What is wrong with a template, as far as its text and that of its modules tell."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.infra.bicep_functions import FUNCTIONS
from tests.infra.bicep_syntax import faults, misread, properties, read, said, text_of, walk

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tree_sitter import Node

    from tests.infra.bicep_syntax import Declaration, Template

#: Resource types with the API version they were written for; another one is a decision.
VERSIONS = {
    "Microsoft.Authorization/locks": "2020-05-01",
    "Microsoft.Authorization/roleAssignments": "2022-04-01",
    "Microsoft.Consumption/budgets": "2024-08-01",
    "Microsoft.Databricks/accessConnectors": "2024-05-01",
    "Microsoft.Databricks/workspaces": "2024-05-01",
    "Microsoft.EventGrid/systemTopics": "2025-02-15",
    "Microsoft.EventGrid/systemTopics/eventSubscriptions": "2025-02-15",
    "Microsoft.EventHub/namespaces": "2024-01-01",
    "Microsoft.EventHub/namespaces/eventhubs": "2024-01-01",
    "Microsoft.EventHub/namespaces/eventhubs/consumergroups": "2024-01-01",
    "Microsoft.Insights/actionGroups": "2023-01-01",
    "Microsoft.Insights/components": "2020-02-02",
    "Microsoft.Insights/diagnosticSettings": "2021-05-01-preview",
    "Microsoft.Insights/metricAlerts": "2018-03-01",
    "Microsoft.Insights/scheduledQueryRules": "2023-12-01",
    "Microsoft.Insights/workbooks": "2023-06-01",
    "Microsoft.KeyVault/vaults": "2024-11-01",
    "Microsoft.KeyVault/vaults/secrets": "2024-11-01",
    "Microsoft.ManagedIdentity/userAssignedIdentities": "2024-11-30",
    "Microsoft.Network/natGateways": "2024-05-01",
    "Microsoft.Network/networkSecurityGroups": "2024-05-01",
    "Microsoft.Network/privateDnsZones": "2024-06-01",
    "Microsoft.Network/privateDnsZones/virtualNetworkLinks": "2024-06-01",
    "Microsoft.Network/privateEndpoints": "2024-05-01",
    "Microsoft.Network/privateEndpoints/privateDnsZoneGroups": "2024-05-01",
    "Microsoft.Network/publicIPAddresses": "2024-05-01",
    "Microsoft.Network/virtualNetworks": "2024-05-01",
    "Microsoft.OperationalInsights/workspaces": "2025-02-01",
    "Microsoft.Resources/resourceGroups": "2025-04-01",
    "Microsoft.Storage/storageAccounts": "2025-01-01",
    "Microsoft.Storage/storageAccounts/blobServices": "2025-01-01",
    "Microsoft.Storage/storageAccounts/blobServices/containers": "2025-01-01",
    "Microsoft.Storage/storageAccounts/managementPolicies": "2025-01-01",
    "Microsoft.Storage/storageAccounts/tableServices": "2025-01-01",
    "Microsoft.Storage/storageAccounts/tableServices/tables": "2025-01-01",
    "Microsoft.Synapse/workspaces": "2021-06-01",
    "Microsoft.Synapse/workspaces/administrators": "2021-06-01",
    "Microsoft.Synapse/workspaces/firewallRules": "2021-06-01",
    "Microsoft.Web/serverfarms": "2024-11-01",
    "Microsoft.Web/sites": "2024-11-01",
    "Microsoft.Web/sites/basicPublishingCredentialsPolicies": "2024-11-01",
    "Microsoft.Web/sites/config": "2024-11-01",
}
_FILES = ("loadTextContent", "loadJsonContent")
_ONLY_IN_PARAMETERS = ("readEnvironmentVariable",)


def findings(path: Path) -> list[str]:
    """Every problem of a template, a line each; none when it is well."""
    template = read(path)
    return [
        *faults(template),
        *misread(template),
        *(f"{path.name}: {name} is declared twice" for name in template.twice),
        *_names(template),
        *_resources(template),
        *_modules(template),
    ]


def _names(template: Template) -> Iterator[str]:
    """Names that nobody declares, and names that nobody uses."""
    used = set()
    for node in _references(template.root):
        name = said(node)
        used.add(name)
        if not (_local(node, name) or name in template.declared or _is_function(node, name)):
            yield f"{template.path.name}:{node.start_point[0] + 1}: {name} is not declared"
    used |= {
        said(node) for node in walk(template.root) if node.type == "identifier" and _typed(node)
    }
    for declaration in template.declared.values():
        wanted = declaration.kind in ("param", "var", "func", "type")
        if wanted and declaration.name not in used and not declaration.decorated("export"):
            yield f"{template.path.name}: {declaration.kind} {declaration.name} is never used"
        if declaration.exists_already and declaration.name not in used:
            yield f"{template.path.name}: existing {declaration.name} is never used"
    for name in template.imports.keys() - used:
        yield f"{template.path.name}: {name} is imported for nothing"


def _references(root: Node) -> Iterator[Node]:
    """Identifiers that stand for a value: no property's name, no declaration, no type."""
    for node in walk(root):
        parent = node.parent
        if node.type != "identifier" or parent is None or _typed(node):
            continue
        naming = parent.type == "object_property" and parent.named_children[0] == node
        declaring = parent.type.endswith("_declaration") and parent.named_children[0] == node
        if not (naming or declaring or _introduces(node)):
            yield node


def _typed(node: Node) -> bool:
    """Whether an identifier names a type."""
    parent = node.parent
    assert parent is not None
    in_object = parent.type == "object_property" and parent.named_children[-1] == node
    if in_object:
        return any(each.type == "type_declaration" for each in _above(node))
    return parent.type in ("type", "array_type", "nullable_type", "union_type", "type_declaration")


def _introduces(node: Node) -> bool:
    """Whether an identifier is a variable of a lambda, a loop, a function or an import."""
    parent = node.parent
    assert parent is not None
    if parent.type in ("for_loop_parameters", "import_functionality", "user_defined_function"):
        return parent.named_children[-1] != node
    if parent.type == "parameter":
        return True
    if parent.type == "parenthesized_expression" and parent.parent is not None:
        holder = parent.parent
        return holder.type == "lambda_expression" and holder.named_children[0] == parent
    decorating = parent.type == "call_expression" and parent.parent is not None
    if decorating and parent.parent is not None and parent.parent.type == "decorator":
        return True
    return (
        parent.type in ("lambda_expression", "for_statement") and parent.named_children[0] == node
    )


def _local(node: Node, name: str) -> bool:
    """Whether a lambda, a loop or a function around a name introduces it."""
    for holder in _above(node):
        if holder.type in ("lambda_expression", "for_statement"):
            first = holder.named_children[0]
            if name in [said(each) for each in (first.named_children or [first])]:
                return True
        if holder.type == "user_defined_function":
            listed = next(n for n in holder.named_children if n.type == "parameters")
            if name in [said(each.named_children[0]) for each in listed.named_children]:
                return True
    return False


def _above(node: Node) -> Iterator[Node]:
    while node.parent is not None:
        node = node.parent
        yield node


def _is_function(node: Node, name: str) -> bool:
    called = node.parent is not None and node.parent.type == "call_expression"
    return called and (name in FUNCTIONS or name in (*_FILES, *_ONLY_IN_PARAMETERS))


def _resources(template: Template) -> Iterator[str]:
    for declaration in template.of("resource"):
        kind, _, version = declaration.title.partition("@")
        if VERSIONS.get(kind) != version:
            yield f"{template.path.name}: {kind} wants {VERSIONS.get(kind)}, not {version}"
    for node in walk(template.root):
        if node.type == "call_expression" and said(node.named_children[0]) in _FILES:
            name = text_of(node.named_children[1].named_children[0])
            if not (template.path.parent / name).exists():
                yield f"{template.path.name}: there is no {name}"


def _modules(template: Template) -> Iterator[str]:
    for declaration in template.of("module"):
        target = template.module_path(declaration)
        if not target.is_file():
            yield f"{template.path.name}: there is no module {declaration.title}"
            continue
        yield from _parameters(template, declaration, read(target))
    for node in walk(template.root):
        if node.type == "member_expression" and said(node).count(".outputs.") == 1:
            name, _, output = said(node).replace(".?", ".").partition(".outputs.")
            module = template.declared.get(name)
            if module is None or not template.module_path(module).is_file():
                continue
            if output not in read(template.module_path(module)).outputs:
                yield f"{template.path.name}: {name} puts out no {output}"


def _of_subscription(template: Template) -> bool:
    """Whether its modules must say which group they go to."""
    return "targetScope = 'subscription'" in said(template.root)


def _parameters(template: Template, module: Declaration, target: Template) -> Iterator[str]:
    """What a module is given that it does not know, and what it needs and is not given."""
    assert module.value is not None
    bodies = [node for node in walk(module.value) if node.type == "object"]
    body = {name: value for name, value, _ in properties(bodies[0])}
    wanted = {"name", "params"} | ({"scope"} if _of_subscription(template) else set())
    if body.keys() - {"dependsOn"} != wanted:
        yield f"{template.path.name}: {module.title} has {sorted(body)}, wants {sorted(wanted)}"
        return
    given = {name for name, _, _ in properties(body["params"])}
    known = {each.name: each for each in target.of("param")}
    for name in sorted(given - known.keys()):
        yield f"{template.path.name}: {module.title} has no parameter {name}"
    for name, each in known.items():
        if name not in given and each.value is None:
            yield f"{template.path.name}: {module.title} is not given {name}"
