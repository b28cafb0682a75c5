// The vault: a secret for every `%SETTING%` that the sources of the document use.

param name string
param location string
param tags object

@description('Names of the settings; a secret is called the same with `-` for `_`.')
param settingNames string[]

@description('Values by setting. What is absent here is left as it is in the vault.')
@secure()
param settingValues object

param softDeleteDays int
param privateNetwork bool
param logsId string
param kept bool

resource vault 'Microsoft.KeyVault/vaults@2024-11-01' = {
  name: name
  location: location
  tags: tags
  properties: {
    tenantId: tenant().tenantId
    sku: {
      family: 'A'
      name: 'standard'
    }
    enableRbacAuthorization: true
    enableSoftDelete: true
    softDeleteRetentionInDays: min(max(softDeleteDays, 7), 90)
    enablePurgeProtection: kept ? true : null // Never false: the service refuses it.
    publicNetworkAccess: privateNetwork ? 'Disabled' : 'Enabled'
    networkAcls: {
      defaultAction: privateNetwork ? 'Deny' : 'Allow'
      bypass: 'AzureServices'
    }
  }
}

resource secrets 'Microsoft.KeyVault/vaults/secrets@2024-11-01' = [
  for setting in settingNames: if (contains(settingValues, setting)) {
    parent: vault
    name: replace(setting, '_', '-')
    properties: { value: settingValues[setting] }
  }
]

resource diagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  scope: vault
  name: 'logs'
  properties: {
    workspaceId: logsId
    logs: [
      { category: 'AuditEvent', enabled: true }
    ]
    metrics: [
      { category: 'AllMetrics', enabled: true }
    ]
  }
}

resource lock 'Microsoft.Authorization/locks@2020-05-01' = if (kept) {
  scope: vault
  name: 'kept'
  properties: {
    level: 'CanNotDelete'
    notes: 'It holds the credentials of the sources.'
  }
}

output id string = vault.id
output name string = vault.name
output uri string = vault.properties.vaultUri
