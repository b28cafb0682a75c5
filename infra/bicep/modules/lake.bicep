// The lake: what was landed, the tables made of it, and the state of the pipeline.
// Point-in-time restore and versions do not exist with a hierarchical namespace; soft delete does,
// raw is never changed, and Delta tables keep their history (docs/operations/recovery.md).

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

@description('Resources that may pass the firewall, because they sign in with an identity of ours.')
param trustedResourceIds string[]

param privateNetwork bool
param logsId string
param kept bool

var containerNames = ['raw', 'clean', 'curated', 'quarantine', 'state']

resource account 'Microsoft.Storage/storageAccounts@2025-01-01' = {
  name: name
  location: location
  tags: tags
  kind: 'StorageV2'
  sku: { name: redundancy }
  properties: {
    isHnsEnabled: true
    accessTier: 'Hot'
    allowSharedKeyAccess: false
    allowBlobPublicAccess: false
    allowCrossTenantReplication: false
    defaultToOAuthAuthentication: true
    minimumTlsVersion: 'TLS1_2'
    supportsHttpsTrafficOnly: true
    isLocalUserEnabled: false
    isSftpEnabled: false
    publicNetworkAccess: 'Enabled' // With the firewall below: `Disabled` would shut Synapse out too.
    networkAcls: {
      defaultAction: privateNetwork ? 'Deny' : 'Allow'
      bypass: 'AzureServices'
      resourceAccessRules: [
        for id in trustedResourceIds: {
          tenantId: tenant().tenantId
          resourceId: id
        }
      ]
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
  for container in containerNames: {
    parent: blobs
    name: container
    properties: { publicAccess: 'None' }
  }
]

resource tables 'Microsoft.Storage/storageAccounts/tableServices@2025-01-01' = {
  parent: account
  name: 'default'
}

resource ledger 'Microsoft.Storage/storageAccounts/tableServices/tables@2025-01-01' = {
  parent: tables
  name: 'runs'
}

// Claims are bodies too large for an event, each written anew whenever an event refers to it. A hub
// keeps an event for seven days at most, and raw has the whole body once it is landed. As long again
// is for a batch that is still being tried when the hub has dropped its events.
resource lifecycle 'Microsoft.Storage/storageAccounts/managementPolicies@2025-01-01' = {
  parent: account
  name: 'default'
  properties: {
    policy: {
      rules: [
        {
          name: 'claims'
          enabled: true
          type: 'Lifecycle'
          definition: {
            filters: {
              blobTypes: ['blockBlob']
              prefixMatch: ['state/claims/']
            }
            actions: {
              baseBlob: {
                delete: { daysAfterModificationGreaterThan: 14 }
              }
            }
          }
        }
      ]
    }
  }
}

resource diagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  scope: blobs
  name: 'logs'
  properties: {
    workspaceId: logsId
    logs: [
      { category: 'StorageDelete', enabled: true } // Reads and writes are too many to keep.
    ]
    metrics: [
      { category: 'Transaction', enabled: true }
    ]
  }
}

resource lock 'Microsoft.Authorization/locks@2020-05-01' = if (kept) {
  scope: account
  name: 'kept'
  properties: {
    level: 'CanNotDelete'
    notes: 'Raw is what every table can be rebuilt from.'
  }
}

output id string = account.id
output name string = account.name
output blobUri string = account.properties.primaryEndpoints.blob
output dfsUri string = account.properties.primaryEndpoints.dfs
output tableUri string = account.properties.primaryEndpoints.table
output queueUri string = account.properties.primaryEndpoints.queue
