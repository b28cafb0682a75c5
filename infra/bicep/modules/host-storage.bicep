// The function host's own account: checkpoints, timers, receipts, the code, dead letters.
// It is apart from the lake, because leases of checkpoints do not go with a hierarchical namespace.

param name string
param location string
param tags object

@allowed([
  'Standard_LRS'
  'Standard_ZRS'
  'Standard_GRS'
  'Standard_GZRS'
  'Standard_RAGZRS'
])
param redundancy string

@minValue(1)
@maxValue(365)
param softDeleteDays int

param privateNetwork bool
param kept bool

var codeContainer = 'code'
var deadLetterContainer = 'dead-letters'

resource account 'Microsoft.Storage/storageAccounts@2025-01-01' = {
  name: name
  location: location
  tags: tags
  kind: 'StorageV2'
  sku: { name: redundancy }
  properties: {
    isHnsEnabled: false
    accessTier: 'Hot'
    allowSharedKeyAccess: false
    allowBlobPublicAccess: false
    allowCrossTenantReplication: false
    defaultToOAuthAuthentication: true
    minimumTlsVersion: 'TLS1_2'
    supportsHttpsTrafficOnly: true
    publicNetworkAccess: 'Enabled' // With the firewall below: Event Grid delivers dead letters.
    networkAcls: {
      defaultAction: privateNetwork ? 'Deny' : 'Allow'
      bypass: 'AzureServices'
    }
  }
}

resource blobs 'Microsoft.Storage/storageAccounts/blobServices@2025-01-01' = {
  parent: account
  name: 'default'
  properties: {
    deleteRetentionPolicy: {
      enabled: true
      days: softDeleteDays
    }
    containerDeleteRetentionPolicy: {
      enabled: true
      days: softDeleteDays
    }
  }
}

resource containers 'Microsoft.Storage/storageAccounts/blobServices/containers@2025-01-01' = [
  for container in [codeContainer, deadLetterContainer]: {
    parent: blobs
    name: container
    properties: { publicAccess: 'None' }
  }
]

resource lock 'Microsoft.Authorization/locks@2020-05-01' = if (kept) {
  scope: account
  name: 'kept'
  properties: {
    level: 'CanNotDelete'
    notes: 'It holds the checkpoints of the hubs.'
  }
}

output id string = account.id
output name string = account.name
output codeUri string = '${account.properties.primaryEndpoints.blob}${codeContainer}'
output deadLetterContainer string = deadLetterContainer
