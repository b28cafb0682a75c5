// Everything in Azure, from the one document. Two steps more: budget.bicep, and, after the code,
// event-grid.bicep.
targetScope = 'subscription'

import { principalType, rangeType } from 'types.bicep'

@description('The environment: one name, one isolated copy of everything.')
@minLength(1)
@maxLength(32)
param environmentName string

param location string = deployment().location

@description('How large, how redundant, and whether it is kept from deletion: sizes.json.')
param size 'branch' | 'dev' | 'staging' | 'prod' = 'dev'

@description('The document; what it names, exists.')
param document object = loadJsonContent('../../pipeline.json')

@description('The Entra group of those who run the pipeline; its members make the SQL views.')
param operators principalType

@description('The Entra group of those who read tables; an empty object id for none.')
param analysts principalType = { name: '', objectId: '' }

@description('The service principal that sends the record of the smoke test; empty for none.')
param smokeTestPrincipalId string = ''

@description('Values of the settings that sources use, by name; absent ones stay as they are in the vault.')
@secure()
param sourceSettings object = {}

@description('Addresses that may reach the SQL endpoint.')
param sqlClients rangeType[] = []

@description('A ledger in PostgreSQL, as `postgresql://user@host/database`; empty for Table Storage.')
param ledger string = ''

@description('Whether the services are reached through a private network only.')
param privateNetwork bool = false

@description('Addresses of the private network: a /22 or larger.')
param addressRange string = '10.80.0.0/22'

// A duration as ISO 8601: `3hrs` is understood too, as the document's models understand it.
func isoOf(written string) string =>
  startsWith(written, 'P') ? written : isoOfSpoken(toLower(replace(written, ' ', '')))

// The letter that tells a unit is in no shorter one: d(ays), h(rs), m(ins), s(ecs), in this order.
func isoOfSpoken(spoken string) string =>
  contains(spoken, 'd')
    ? 'P${first(split(spoken, 'd'))}D'
    : contains(spoken, 'h')
        ? 'PT${first(split(spoken, 'h'))}H'
        : contains(spoken, 'm') ? 'PT${first(split(spoken, 'm'))}M' : 'PT${first(split(spoken, 's'))}S'

func secondsOf(written string) int => dateTimeToEpoch(dateTimeAdd('1970-01-01T00:00:00Z', isoOf(written)))

// A hub keeps whole hours, at most seven days of them; an event may expire later than that.
func retentionHoursOf(written string) int => min((secondsOf(written) + 3599) / 3600, 168)

// Only as much is looked at as a name can have: the rest of the document may be between two signs.
func isSettingName(word string) bool =>
  !empty(word) && length(word) <= 128 && !contains('0123456789', take(word, 1)) && empty(filter(
    range(0, length(take(word, 128))),
    place => !contains('abcdefghijklmnopqrstuvwxyz0123456789_', toLower(substring(word, place, 1)))
  ))

// The `%NAME%`s of a text, from left to right: what stands between two percent signs, unless the
// first of them closed the name before it.
func settingNamesOf(text string) array =>
  reduce(
    take(split(text, '%'), length(split(text, '%')) - 1),
    { names: [], closed: true },
    (found, word) => (!(found.closed) && isSettingName(word)
      ? { names: union(found.names, [word]), closed: true }
      : { names: found.names, closed: false })
  ).names

var sized = loadJsonContent('sizes.json')[size]
var token = toLower(uniqueString(subscription().id, environmentName, location))
var prefix = '${document.name}-${environmentName}'
var tags = {
  'azd-env-name': environmentName
  'millrace-pipeline': document.name
}

var sources = document.?sources ?? []
var alerts = document.?alerts ?? {}
var hubs = map(document.?eventhubs ?? [], hub => {
  material: hub.material
  partitions: hub.?partitions ?? 4
  retentionHours: retentionHoursOf(hub.?expiresAfter ?? 'P1D')
  consumerGroups: ['hub-to-raw', 'hub-to-raw-gaps'] // One a function, so that none steals partitions.
})
var datasets = map(document.?datasets ?? [], dataset => {
  name: dataset.name
  material: dataset.consumes
  freshnessSeconds: secondsOf(dataset.?freshness ?? (alerts.?freshness ?? 'P1D'))
})
var limits = {
  lagEvents: alerts.?lagEvents ?? 10000
  runLateSeconds: secondsOf(alerts.?runLateAfter ?? 'PT1H')
  silentSeconds: secondsOf(alerts.?silentAfter ?? 'PT15M')
}
// A poll may say nothing for as long as the tables that live from it may be behind.
var unfed = [{ freshnessSeconds: secondsOf(alerts.?freshness ?? 'P1D') }]
var polls = map(sources, source => {
  name: 'poll_${replace(source.name, '-', '_')}'
  fed: filter(datasets, dataset => contains([source.publishes], dataset.material))
})
var pollTimers = map(polls, poll => {
  name: poll.name
  silentSeconds: max(limits.silentSeconds, min(map(empty(poll.fed) ? unfed : poll.fed, fed => (fed.freshnessSeconds))))
})
var ownTimers = [
  { name: 'track_runs', silentSeconds: limits.silentSeconds }
  { name: 'measure_pipeline', silentSeconds: limits.silentSeconds }
]
var emails = alerts.?emails ?? []
var secretSettings = settingNamesOf(string(sources))

// What a hub says of itself beyond what we know are free attributes: tags of the namespace.
var knownOfHub = ['material', 'partitions', 'expiresAfter', 'maxEventBytes', 'expectedRecordsPerDay', 'recordBytes']
var hubTags = toObject(
  flatten(map(document.?eventhubs ?? [], hub => map(
    filter(items(hub), attribute => !contains(knownOfHub, attribute.key)),
    attribute => { key: '${hub.material}.${attribute.key}', value: string(attribute.value) }
  ))),
  tag => (tag.key),
  tag => (tag.value)
)

resource group 'Microsoft.Resources/resourceGroups@2025-04-01' = {
  name: 'rg-${prefix}'
  location: location
  tags: tags
}

module identity 'modules/identity.bicep' = {
  scope: group
  name: 'identity'
  params: {
    name: 'id-${token}'
    location: location
    tags: tags
  }
}

module monitoring 'modules/monitoring.bicep' = {
  scope: group
  name: 'monitoring'
  params: {
    logsName: 'log-${token}'
    insightsName: 'appi-${token}'
    actionGroupName: 'ag-${token}'
    location: location
    tags: tags
    retentionDays: sized.logRetentionDays
    dailyCapGb: sized.logDailyCapGb
    emails: emails
    kept: sized.kept
  }
}

var zoneNames = {
  blob: 'privatelink.blob.${environment().suffixes.storage}'
  dfs: 'privatelink.dfs.${environment().suffixes.storage}'
  queue: 'privatelink.queue.${environment().suffixes.storage}'
  table: 'privatelink.table.${environment().suffixes.storage}'
  namespace: 'privatelink.servicebus.windows.net'
  vault: 'privatelink${replace(environment().suffixes.keyvaultDns, '.vault.', '.vaultcore.')}'
}

module network '../network/network.bicep' = if (privateNetwork) {
  scope: group
  name: 'network'
  params: {
    name: 'vnet-${token}'
    location: location
    tags: tags
    addressRange: addressRange
    zoneNames: map(items(zoneNames), zone => (zone.value))
  }
}

module eventHubs 'modules/event-hubs.bicep' = {
  scope: group
  name: 'event-hubs'
  params: {
    name: 'evhns-${token}'
    location: location
    tags: union(tags, hubTags)
    hubs: hubs
    throughputUnits: sized.throughputUnits
    throughputUnitsMax: sized.throughputUnitsMax
    privateNetwork: privateNetwork
    logsId: monitoring.outputs.logsId
    kept: sized.kept
  }
}

module databricks 'modules/databricks.bicep' = {
  scope: group
  name: 'databricks'
  params: {
    workspaceName: 'dbw-${token}'
    connectorName: 'dbac-${token}'
    location: location
    tags: tags
    logsId: monitoring.outputs.logsId
    network: {
      id: network.?outputs.id ?? ''
      functionsSubnetId: network.?outputs.functionsSubnetId ?? ''
      databricksPublicSubnet: network.?outputs.databricksPublicSubnet ?? ''
      databricksPrivateSubnet: network.?outputs.databricksPrivateSubnet ?? ''
    }
    kept: sized.kept
  }
}

module lake 'modules/lake.bicep' = {
  scope: group
  name: 'lake'
  params: {
    name: 'lake${token}'
    location: location
    tags: tags
    redundancy: sized.storageRedundancy
    softDeleteDays: sized.softDeleteDays
    trustedResourceIds: [
      databricks.outputs.connectorId
      resourceId(subscription().subscriptionId, group.name, 'Microsoft.Synapse/workspaces', 'syn${token}')
    ]
    privateNetwork: privateNetwork
    logsId: monitoring.outputs.logsId
    kept: sized.kept
  }
}

module hostStorage 'modules/host-storage.bicep' = {
  scope: group
  name: 'host-storage'
  params: {
    name: 'host${token}'
    location: location
    tags: tags
    redundancy: sized.storageRedundancy
    softDeleteDays: sized.softDeleteDays
    privateNetwork: privateNetwork
    kept: sized.kept
  }
}

module vault 'modules/key-vault.bicep' = {
  scope: group
  name: 'key-vault'
  params: {
    name: 'kv-${token}'
    location: location
    tags: tags
    settingNames: secretSettings
    settingValues: sourceSettings
    softDeleteDays: sized.softDeleteDays
    privateNetwork: privateNetwork
    logsId: monitoring.outputs.logsId
    kept: sized.kept
  }
}

module synapse 'modules/synapse.bicep' = {
  scope: group
  name: 'synapse'
  params: {
    name: 'syn${token}'
    location: location
    tags: tags
    lakeUri: lake.outputs.dfsUri
    lakeId: lake.outputs.id
    administrators: operators
    clientRanges: sqlClients
    logsId: monitoring.outputs.logsId
    kept: sized.kept
  }
}

module topic 'modules/event-grid-topic.bicep' = {
  scope: group
  name: 'event-grid-topic'
  params: {
    name: 'evgt-${token}'
    location: location
    tags: tags
    lakeId: lake.outputs.id
    logsId: monitoring.outputs.logsId
  }
}

module roles 'modules/roles.bicep' = {
  scope: group
  name: 'roles'
  params: {
    lakeName: lake.outputs.name
    hostStorageName: hostStorage.outputs.name
    namespaceName: eventHubs.outputs.name
    vaultName: vault.outputs.name
    insightsName: monitoring.outputs.insightsName
    logsName: monitoring.outputs.logsName
    functionsPrincipalId: identity.outputs.principalId
    databricksPrincipalId: databricks.outputs.connectorPrincipalId
    synapsePrincipalId: synapse.outputs.principalId
    eventGridPrincipalId: topic.outputs.principalId
    deadLetterContainer: hostStorage.outputs.deadLetterContainer
    operators: operators
    analysts: analysts
    smokeTestPrincipalId: smokeTestPrincipalId
  }
}

var endpoints = [
  { name: 'lake-blob', of: 'lake', part: 'blob' }
  { name: 'lake-dfs', of: 'lake', part: 'dfs' }
  { name: 'lake-queue', of: 'lake', part: 'queue' }
  { name: 'lake-table', of: 'lake', part: 'table' }
  { name: 'host-blob', of: 'host', part: 'blob' }
  { name: 'host-queue', of: 'host', part: 'queue' }
  { name: 'host-table', of: 'host', part: 'table' }
  { name: 'hubs', of: 'hubs', part: 'namespace' }
  { name: 'vault', of: 'vault', part: 'vault' }
]
var reachedPrivately = {
  lake: lake.outputs.id
  host: hostStorage.outputs.id
  hubs: eventHubs.outputs.id
  vault: vault.outputs.id
}

module privateEndpoints '../network/private-endpoint.bicep' = [
  for endpoint in endpoints: if (privateNetwork) {
    scope: group
    name: 'private-${endpoint.name}'
    params: {
      name: 'pep-${endpoint.name}-${token}'
      location: location
      tags: tags
      subnetId: network.?outputs.endpointsSubnetId ?? ''
      resourceId: reachedPrivately[endpoint.of]
      part: endpoint.part
      zoneName: zoneNames[endpoint.part]
    }
  }
]

module functionApp 'modules/function-app.bicep' = {
  scope: group
  name: 'function-app'
  params: {
    planName: 'plan-${token}'
    name: 'func-${token}'
    location: location
    tags: tags
    identityId: identity.outputs.id
    identityClientId: identity.outputs.clientId
    hostStorageName: hostStorage.outputs.name
    codeUri: hostStorage.outputs.codeUri
    landingFunctions: map(hubs, hub => 'land_${replace(hub.material, '-', '_')}')
    landingAlwaysReady: sized.landingAlwaysReady
    memoryMb: sized.functionMemoryMb
    instancesMax: sized.functionInstancesMax
    settings: {
      EVENT_HUBS__fullyQualifiedNamespace: eventHubs.outputs.fullyQualifiedName
      EVENT_HUBS__credential: 'managedidentity'
      EVENT_HUBS__clientId: identity.outputs.clientId
      LAKE__blobServiceUri: lake.outputs.blobUri
      LAKE__queueServiceUri: lake.outputs.queueUri
      LAKE__tableServiceUri: lake.outputs.tableUri
      LAKE__credential: 'managedidentity'
      LAKE__clientId: identity.outputs.clientId
      DATABRICKS_HOST: databricks.outputs.url
      AZURE_CLIENT_ID: identity.outputs.clientId
      PIPELINE_FILE: 'pipeline.json'
      PIPELINE_ENVIRONMENT: environmentName
      TRACK_SCHEDULE: '*/30 * * * * *'
      MAINTENANCE_SCHEDULE: '0 30 2 * * *'
      MEASURE_SCHEDULE: '0 * * * * *'
      LEDGER: ledger // Without a password: the identity signs in.
    }
    vaultSettings: secretSettings
    vaultUri: vault.outputs.uri
    insightsConnectionString: monitoring.outputs.connectionString
    subnetId: network.?outputs.functionsSubnetId ?? ''
    logsId: monitoring.outputs.logsId
  }
  dependsOn: [roles, privateEndpoints] // So that its first start already may.
}

module alertRules 'modules/alerts.bicep' = {
  scope: group
  name: 'alerts'
  params: {
    prefix: prefix
    location: location
    tags: tags
    logsId: monitoring.outputs.logsId
    namespaceId: eventHubs.outputs.id
    topicId: topic.outputs.id
    actionGroupId: monitoring.outputs.actionGroupId
    datasets: datasets
    timers: flatten([ownTimers, pollTimers])
    limits: limits
  }
}

module workbook 'modules/workbook.bicep' = {
  scope: group
  name: 'workbook'
  params: {
    displayName: 'Pipeline ${prefix}'
    location: location
    tags: tags
    logsId: monitoring.outputs.logsId
    datasets: datasets
    limits: limits
  }
}

// infra/deploy reads these, and so do azd's hooks.
output AZURE_ENV_NAME string = environmentName
output AZURE_RESOURCE_GROUP string = group.name
output MILLRACE_SIZE string = size
output PIPELINE_NAME string = prefix
output FUNCTION_APP_NAME string = functionApp.outputs.name
output FUNCTION_APP_HOST string = functionApp.outputs.hostName
output IDENTITY_CLIENT_ID string = identity.outputs.clientId
output EVENT_HUBS_NAMESPACE string = eventHubs.outputs.fullyQualifiedName
output LAKE_NAME string = lake.outputs.name
output LAKE_BLOB_URI string = lake.outputs.blobUri
output LAKE_TABLE_URI string = lake.outputs.tableUri
output HOST_STORAGE_NAME string = hostStorage.outputs.name
output DEAD_LETTER_CONTAINER string = hostStorage.outputs.deadLetterContainer
output KEY_VAULT_NAME string = vault.outputs.name
output SECRET_SETTINGS string = join(secretSettings, ' ') // A list would reach azd's hooks as JSON.
output DATABRICKS_HOST string = databricks.outputs.url
output DATABRICKS_AZURE_RESOURCE_ID string = databricks.outputs.workspaceId
output DATABRICKS_CONNECTOR_ID string = databricks.outputs.connectorId
output SYNAPSE_NAME string = synapse.outputs.name
output SYNAPSE_ENDPOINT string = synapse.outputs.endpoint
output SYNAPSE_DATABASE string = replace('${document.name}_${environmentName}', '-', '_')
output EVENT_GRID_TOPIC_NAME string = topic.outputs.name
output ACTION_GROUP_ID string = monitoring.outputs.actionGroupId
