// The namespace and a hub for each material of the document.

import { hubType } from '../types.bicep'

param name string
param location string
param tags object
param hubs hubType[]

@minValue(1)
@maxValue(40)
param throughputUnits int

@minValue(1)
@maxValue(40)
param throughputUnitsMax int

param privateNetwork bool
param logsId string
param kept bool

resource namespace 'Microsoft.EventHub/namespaces@2024-01-01' = {
  name: name
  location: location
  tags: tags
  sku: {
    name: 'Standard'
    tier: 'Standard'
    capacity: throughputUnits
  }
  properties: {
    disableLocalAuth: true
    minimumTlsVersion: '1.2'
    isAutoInflateEnabled: throughputUnitsMax > throughputUnits
    maximumThroughputUnits: throughputUnitsMax > throughputUnits ? throughputUnitsMax : 0
    publicNetworkAccess: privateNetwork ? 'Disabled' : 'Enabled'
  }
}

module carriers 'hub.bicep' = [
  for hub in hubs: {
    name: 'hub-${hub.material}'
    params: {
      namespaceName: namespace.name
      hub: hub
    }
  }
]

resource diagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  scope: namespace
  name: 'logs'
  properties: {
    workspaceId: logsId
    logAnalyticsDestinationType: 'Dedicated' // Or the AZMS tables stay empty.
    logs: [
      { category: 'OperationalLogs', enabled: true }
      { category: 'AutoScaleLogs', enabled: true }
      { category: 'DiagnosticErrorLogs', enabled: true }
    ]
    metrics: [
      { category: 'AllMetrics', enabled: true }
    ]
  }
}

resource lock 'Microsoft.Authorization/locks@2020-05-01' = if (kept) {
  scope: namespace
  name: 'kept'
  properties: {
    level: 'CanNotDelete'
    notes: 'It holds events that are not landed yet.'
  }
}

output id string = namespace.id
output name string = namespace.name
output fullyQualifiedName string = first(split(last(split(namespace.properties.serviceBusEndpoint, '://')), ':'))
