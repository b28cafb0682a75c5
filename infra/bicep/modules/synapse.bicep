// SQL: the serverless pool, which every workspace has; synapse/ holds what is deployed into it.

import { principalType, rangeType } from '../types.bicep'

param name string
param location string
param tags object

@description('The lake, as `https://<account>.dfs…`.')
param lakeUri string

param lakeId string

@description('The group that may do everything; people in it make the views.')
param administrators principalType

@description('Addresses that may reach the endpoint besides private ones.')
param clientRanges rangeType[]

param logsId string
param kept bool

resource workspace 'Microsoft.Synapse/workspaces@2021-06-01' = {
  name: name
  location: location
  tags: tags
  identity: { type: 'SystemAssigned' }
  properties: {
    azureADOnlyAuthentication: true
    publicNetworkAccess: 'Enabled' // With the firewall below, which lets nobody in by itself.
    trustedServiceBypassEnabled: false
    managedResourceGroupName: '${name}-managed'
    defaultDataLakeStorage: {
      accountUrl: lakeUri
      filesystem: 'curated'
      resourceId: lakeId
      createManagedPrivateEndpoint: false
    }
  }
}

resource administrator 'Microsoft.Synapse/workspaces/administrators@2021-06-01' = {
  parent: workspace
  name: 'activeDirectory'
  properties: {
    administratorType: 'ActiveDirectory'
    tenantId: tenant().tenantId
    login: administrators.name
    sid: administrators.objectId
  }
}

resource clients 'Microsoft.Synapse/workspaces/firewallRules@2021-06-01' = [
  for range in clientRanges: {
    parent: workspace
    name: range.name
    properties: {
      startIpAddress: range.first
      endIpAddress: range.last
    }
  }
]

resource diagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  scope: workspace
  name: 'logs'
  properties: {
    workspaceId: logsId
    logs: [
      { category: 'BuiltinSqlReqsEnded', enabled: true }
    ]
    metrics: [
      { category: 'AllMetrics', enabled: true }
    ]
  }
}

resource lock 'Microsoft.Authorization/locks@2020-05-01' = if (kept) {
  scope: workspace
  name: 'kept'
  properties: {
    level: 'CanNotDelete'
    notes: 'Analysts query it.'
  }
}

output id string = workspace.id
output name string = workspace.name
output endpoint string = workspace.properties.connectivityEndpoints.sqlOnDemand
output principalId string = workspace.identity.principalId
