// A hub: one material, with a consumer group for each function that reads it.

import { hubType } from '../types.bicep'

param namespaceName string
param hub hubType

resource namespace 'Microsoft.EventHub/namespaces@2024-01-01' existing = {
  name: namespaceName
}

resource carrier 'Microsoft.EventHub/namespaces/eventhubs@2024-01-01' = {
  parent: namespace
  name: hub.material
  properties: {
    partitionCount: hub.partitions // Fixed once the hub exists.
    retentionDescription: {
      cleanupPolicy: 'Delete'
      retentionTimeInHours: hub.retentionHours
    }
  }
}

@batchSize(1) // The service refuses changes of one hub that overlap.
resource consumers 'Microsoft.EventHub/namespaces/eventhubs/consumergroups@2024-01-01' = [
  for group in hub.consumerGroups: {
    parent: carrier
    name: group
  }
]
