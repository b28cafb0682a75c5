// Every role assignment. The function app and the jobs write; people read.

import { principalType } from '../types.bicep'

param lakeName string
param hostStorageName string
param namespaceName string
param vaultName string
param insightsName string
param logsName string

@description('The function app.')
param functionsPrincipalId string

@description('The connector that Databricks jobs reach the lake with.')
param databricksPrincipalId string

@description('The workspace whose serverless pool reads tables.')
param synapsePrincipalId string

@description('The topic that keeps what it could not deliver.')
param eventGridPrincipalId string

param deadLetterContainer string

@description('They look into everything and set the secrets of sources.')
param operators principalType

@description('They read tables; an empty object id for nobody.')
param analysts principalType

@description('Who sends the one record of the smoke test; empty for nobody.')
param smokeTestPrincipalId string

var roles = loadJsonContent('../roles.json')
var containerNames = ['raw', 'clean', 'curated', 'quarantine', 'state']

// Who may do what in which container of the lake.
var lakeGrants = [
  { container: 'raw', role: roles.storageBlobDataContributor, principalId: functionsPrincipalId, type: 'ServicePrincipal' }
  { container: 'state', role: roles.storageBlobDataContributor, principalId: functionsPrincipalId, type: 'ServicePrincipal' }
  { container: 'quarantine', role: roles.storageBlobDataContributor, principalId: functionsPrincipalId, type: 'ServicePrincipal' }
  { container: 'clean', role: roles.storageBlobDataReader, principalId: functionsPrincipalId, type: 'ServicePrincipal' }
  { container: 'curated', role: roles.storageBlobDataReader, principalId: functionsPrincipalId, type: 'ServicePrincipal' }
  { container: 'raw', role: roles.storageBlobDataReader, principalId: databricksPrincipalId, type: 'ServicePrincipal' }
  { container: 'clean', role: roles.storageBlobDataContributor, principalId: databricksPrincipalId, type: 'ServicePrincipal' }
  { container: 'curated', role: roles.storageBlobDataContributor, principalId: databricksPrincipalId, type: 'ServicePrincipal' }
  { container: 'quarantine', role: roles.storageBlobDataContributor, principalId: databricksPrincipalId, type: 'ServicePrincipal' }
  { container: 'state', role: roles.storageBlobDataContributor, principalId: databricksPrincipalId, type: 'ServicePrincipal' }
  { container: 'clean', role: roles.storageBlobDataReader, principalId: synapsePrincipalId, type: 'ServicePrincipal' }
  { container: 'curated', role: roles.storageBlobDataReader, principalId: synapsePrincipalId, type: 'ServicePrincipal' }
  { container: 'quarantine', role: roles.storageBlobDataReader, principalId: synapsePrincipalId, type: 'ServicePrincipal' }
  { container: 'state', role: roles.storageBlobDataReader, principalId: synapsePrincipalId, type: 'ServicePrincipal' }
]
var analystGrants = empty(analysts.objectId) ? [] : [
  { container: 'clean', role: roles.storageBlobDataReader, principalId: analysts.objectId, type: 'Group' }
  { container: 'curated', role: roles.storageBlobDataReader, principalId: analysts.objectId, type: 'Group' }
]
var containerGrants = concat(lakeGrants, analystGrants)

var lakeAccountGrants = [
  { role: roles.storageQueueDataContributor, principalId: functionsPrincipalId, type: 'ServicePrincipal' } // Poison blobs.
  { role: roles.storageTableDataContributor, principalId: functionsPrincipalId, type: 'ServicePrincipal' } // The ledger.
  { role: roles.storageBlobDelegator, principalId: databricksPrincipalId, type: 'ServicePrincipal' } // Unity Catalog's passes.
  { role: roles.storageBlobDataReader, principalId: operators.objectId, type: 'Group' }
  { role: roles.storageTableDataReader, principalId: operators.objectId, type: 'Group' }
]
var hostStorageRoles = [
  roles.storageBlobDataOwner // Leases of checkpoints and timers.
  roles.storageQueueDataContributor // The blob trigger's own queue.
  roles.storageTableDataContributor // Diagnostic events of the host.
]
var hubGrants = concat(
  [
    { role: roles.eventHubsDataSender, principalId: functionsPrincipalId, type: 'ServicePrincipal' }
    { role: roles.eventHubsDataReceiver, principalId: functionsPrincipalId, type: 'ServicePrincipal' }
    { role: roles.eventHubsDataReceiver, principalId: operators.objectId, type: 'Group' } // To see how far a hub is.
  ],
  empty(smokeTestPrincipalId) ? [] : [
    { role: roles.eventHubsDataSender, principalId: smokeTestPrincipalId, type: 'ServicePrincipal' }
  ]
)
var vaultGrants = [
  { role: roles.keyVaultSecretsUser, principalId: functionsPrincipalId, type: 'ServicePrincipal' }
  { role: roles.keyVaultSecretsOfficer, principalId: operators.objectId, type: 'Group' }
]

resource lake 'Microsoft.Storage/storageAccounts@2025-01-01' existing = {
  name: lakeName
}

resource lakeBlobs 'Microsoft.Storage/storageAccounts/blobServices@2025-01-01' existing = {
  parent: lake
  name: 'default'
}

resource containers 'Microsoft.Storage/storageAccounts/blobServices/containers@2025-01-01' existing = [
  for container in containerNames: {
    parent: lakeBlobs
    name: container
  }
]

resource hostStorage 'Microsoft.Storage/storageAccounts@2025-01-01' existing = {
  name: hostStorageName
}

resource hostBlobs 'Microsoft.Storage/storageAccounts/blobServices@2025-01-01' existing = {
  parent: hostStorage
  name: 'default'
}

resource deadLetters 'Microsoft.Storage/storageAccounts/blobServices/containers@2025-01-01' existing = {
  parent: hostBlobs
  name: deadLetterContainer
}

resource namespace 'Microsoft.EventHub/namespaces@2024-01-01' existing = {
  name: namespaceName
}

resource vault 'Microsoft.KeyVault/vaults@2024-11-01' existing = {
  name: vaultName
}

resource insights 'Microsoft.Insights/components@2020-02-02' existing = {
  name: insightsName
}

resource logs 'Microsoft.OperationalInsights/workspaces@2025-02-01' existing = {
  name: logsName
}

resource inContainers 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for grant in containerGrants: {
    scope: containers[indexOf(containerNames, grant.container)]
    name: guid(lake.id, grant.container, grant.principalId, grant.role)
    properties: {
      roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', grant.role)
      principalId: grant.principalId
      principalType: grant.type
    }
  }
]

resource inLake 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for grant in lakeAccountGrants: {
    scope: lake
    name: guid(lake.id, grant.principalId, grant.role)
    properties: {
      roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', grant.role)
      principalId: grant.principalId
      principalType: grant.type
    }
  }
]

resource inHostStorage 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for role in hostStorageRoles: {
    scope: hostStorage
    name: guid(hostStorage.id, functionsPrincipalId, role)
    properties: {
      roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', role)
      principalId: functionsPrincipalId
      principalType: 'ServicePrincipal'
    }
  }
]

resource inDeadLetters 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: deadLetters
  name: guid(deadLetters.id, eventGridPrincipalId, roles.storageBlobDataContributor)
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.storageBlobDataContributor)
    principalId: eventGridPrincipalId
    principalType: 'ServicePrincipal'
  }
}

resource inNamespace 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for grant in hubGrants: {
    scope: namespace
    name: guid(namespace.id, grant.principalId, grant.role)
    properties: {
      roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', grant.role)
      principalId: grant.principalId
      principalType: grant.type
    }
  }
]

resource inVault 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for grant in vaultGrants: {
    scope: vault
    name: guid(vault.id, grant.principalId, grant.role)
    properties: {
      roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', grant.role)
      principalId: grant.principalId
      principalType: grant.type
    }
  }
]

resource inInsights 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: insights
  name: guid(insights.id, functionsPrincipalId, roles.monitoringMetricsPublisher)
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.monitoringMetricsPublisher)
    principalId: functionsPrincipalId
    principalType: 'ServicePrincipal'
  }
}

resource inLogs 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: logs
  name: guid(logs.id, operators.objectId, roles.logAnalyticsReader)
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.logAnalyticsReader)
    principalId: operators.objectId
    principalType: 'Group'
  }
}
