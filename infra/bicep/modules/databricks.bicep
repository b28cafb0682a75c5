// The workspace that runs the transforms, and the identity it reaches the lake with.
// Jobs are not resources of Azure: infra/databricks deploys them.

import { networkType } from '../types.bicep'

param workspaceName string
param connectorName string
param location string
param tags object
param logsId string

@description('Where clusters live; with an empty id, in a network that Databricks makes itself.')
param network networkType

param kept bool

var networkParameters = empty(network.id) ? {} : {
  customVirtualNetworkId: { value: network.id }
  customPublicSubnetName: { value: network.databricksPublicSubnet }
  customPrivateSubnetName: { value: network.databricksPrivateSubnet }
}

resource connector 'Microsoft.Databricks/accessConnectors@2024-05-01' = {
  name: connectorName
  location: location
  tags: tags
  identity: { type: 'SystemAssigned' }
}

resource workspace 'Microsoft.Databricks/workspaces@2024-05-01' = {
  name: workspaceName
  location: location
  tags: tags
  sku: { name: 'premium' } // Unity Catalog, permissions on jobs and diagnostic logs need it.
  properties: {
    managedResourceGroupId: subscriptionResourceId('Microsoft.Resources/resourceGroups', '${workspaceName}-managed')
    publicNetworkAccess: 'Enabled' // Its API is the only way in, and takes Entra ID tokens only.
    requiredNsgRules: 'AllRules'
    defaultCatalog: { initialType: 'UnityCatalog' }
    parameters: union({ enableNoPublicIp: { value: true } }, networkParameters)
  }
}

resource diagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  scope: workspace
  name: 'logs'
  properties: {
    workspaceId: logsId
    logs: [
      { category: 'jobs', enabled: true }
      { category: 'clusters', enabled: true }
    ]
  }
}

resource lock 'Microsoft.Authorization/locks@2020-05-01' = if (kept) {
  scope: workspace
  name: 'kept'
  properties: {
    level: 'CanNotDelete'
    notes: 'Its jobs write the tables.'
  }
}

output url string = 'https://${workspace.properties.workspaceUrl}'
output workspaceId string = workspace.id
output connectorId string = connector.id
output connectorPrincipalId string = connector.identity.principalId
