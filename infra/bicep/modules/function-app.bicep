// The function app on Flex Consumption: every arrow of the pipeline but the transform.

param planName string
param name string
param location string
param tags object

param identityId string
param identityClientId string

param hostStorageName string

@description('The container that the code is deployed to.')
param codeUri string

@description('Functions that land events: each scales by itself, and may be always ready.')
param landingFunctions string[]

@minValue(0)
param landingAlwaysReady int

@allowed([512, 2048, 4096])
param memoryMb int

@minValue(40)
@maxValue(1000)
param instancesMax int

@description('What the app reads from its environment besides the connection of the host.')
param settings object

@description('Settings that are secrets in the vault.')
param vaultSettings string[]

param vaultUri string
param insightsConnectionString string

@description('The subnet the app reaches the world through; empty for none.')
param subnetId string

param logsId string

var hostSettings = {
  AzureWebJobsStorage__accountName: hostStorageName
  AzureWebJobsStorage__credential: 'managedidentity'
  AzureWebJobsStorage__clientId: identityClientId
  APPLICATIONINSIGHTS_CONNECTION_STRING: insightsConnectionString
  APPLICATIONINSIGHTS_AUTHENTICATION_STRING: 'ClientId=${identityClientId};Authorization=AAD'
  PYTHON_APPLICATIONINSIGHTS_ENABLE_TELEMETRY: 'true' // The worker configures Azure Monitor, once.
  OTEL_SERVICE_NAME: name
  OTEL_TRACES_SAMPLER: 'microsoft.fixed_percentage'
  OTEL_TRACES_SAMPLER_ARG: '1.0' // The default drops all but five traces a second.
}
var vaultReferences = toObject(
  vaultSettings,
  setting => setting,
  setting => '@Microsoft.KeyVault(SecretUri=${vaultUri}secrets/${replace(setting, '_', '-')})'
)

// The published types do not know the strategy yet; the service does.
var rollingUpdate = {
  siteUpdateStrategy: { type: 'RollingUpdate' }
}

resource plan 'Microsoft.Web/serverfarms@2024-11-01' = {
  name: planName
  location: location
  tags: tags
  kind: 'functionapp'
  sku: {
    name: 'FC1'
    tier: 'FlexConsumption'
  }
  properties: { reserved: true }
}

resource site 'Microsoft.Web/sites@2024-11-01' = {
  name: name
  location: location
  tags: tags
  kind: 'functionapp,linux'
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: { '${identityId}': {} }
  }
  properties: {
    serverFarmId: plan.id
    httpsOnly: true
    keyVaultReferenceIdentity: identityId
    publicNetworkAccess: 'Enabled' // With the restrictions below: Event Grid calls it.
    virtualNetworkSubnetId: empty(subnetId) ? null : subnetId
    siteConfig: {
      minTlsVersion: '1.2'
      scmMinTlsVersion: '1.2'
      ftpsState: 'Disabled'
      http20Enabled: true
      ipSecurityRestrictionsDefaultAction: empty(subnetId) ? 'Allow' : 'Deny'
      ipSecurityRestrictions: empty(subnetId) ? [] : [
        {
          name: 'event-grid'
          tag: 'ServiceTag'
          ipAddress: 'AzureEventGrid'
          action: 'Allow'
          priority: 100
        }
      ]
    }
    #disable-next-line BCP037
    functionAppConfig: union(rollingUpdate, {
      deployment: {
        storage: {
          type: 'blobContainer'
          value: codeUri
          authentication: {
            type: 'UserAssignedIdentity'
            userAssignedIdentityResourceId: identityId
          }
        }
      }
      runtime: {
        name: 'python'
        version: '3.13'
      }
      scaleAndConcurrency: {
        instanceMemoryMB: memoryMb
        maximumInstanceCount: instancesMax
        alwaysReady: landingAlwaysReady == 0 ? [] : map(landingFunctions, landing => {
          name: 'function:${landing}'
          instanceCount: landingAlwaysReady
        })
      }
    })
  }
}

resource appSettings 'Microsoft.Web/sites/config@2024-11-01' = {
  parent: site
  name: 'appsettings'
  properties: union(hostSettings, settings, vaultReferences)
}

resource noFtp 'Microsoft.Web/sites/basicPublishingCredentialsPolicies@2024-11-01' = {
  parent: site
  name: 'ftp'
  properties: { allow: false }
}

resource noBasicAuthentication 'Microsoft.Web/sites/basicPublishingCredentialsPolicies@2024-11-01' = {
  parent: site
  name: 'scm'
  properties: { allow: false }
}

resource diagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  scope: site
  name: 'logs'
  properties: {
    workspaceId: logsId
    logs: [
      { category: 'FunctionAppLogs', enabled: true }
    ]
    metrics: [
      { category: 'AllMetrics', enabled: true }
    ]
  }
}

output id string = site.id
output name string = site.name
output hostName string = site.properties.defaultHostName
