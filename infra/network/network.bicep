// The private network: subnets for the function app, Databricks and private endpoints, and the names
// by which the services are found inside it.

param name string
param location string
param tags object

@description('A /22 or larger, that no network it is joined with uses.')
param addressRange string

@description('Suffixes of the services that are reached privately.')
param zoneNames string[]

var functionsSubnet = 'functions'
var endpointsSubnet = 'endpoints'
var databricksPublicSubnet = 'databricks-public'
var databricksPrivateSubnet = 'databricks-private'

// Those that Databricks adds by itself when a workspace comes into the subnets, in its own words: a
// repeated deployment without them would take them away, which the service refuses.
var clusterRules = [
  { name: 'worker-to-worker-inbound', direction: 'Inbound', priority: 100, protocol: '*', port: '*', to: 'VirtualNetwork' }
  { name: 'worker-to-databricks-webapp', direction: 'Outbound', priority: 100, protocol: 'Tcp', port: '443', to: 'AzureDatabricks' }
  { name: 'worker-to-sql', direction: 'Outbound', priority: 101, protocol: 'Tcp', port: '3306', to: 'Sql' }
  { name: 'worker-to-storage', direction: 'Outbound', priority: 102, protocol: 'Tcp', port: '443', to: 'Storage' }
  { name: 'worker-to-worker-outbound', direction: 'Outbound', priority: 103, protocol: '*', port: '*', to: 'VirtualNetwork' }
  { name: 'worker-to-eventhub', direction: 'Outbound', priority: 104, protocol: 'Tcp', port: '9093', to: 'EventHub' }
]

resource clusters 'Microsoft.Network/networkSecurityGroups@2024-05-01' = {
  name: '${name}-databricks'
  location: location
  tags: tags
  properties: {
    securityRules: [
      for rule in clusterRules: {
        name: 'Microsoft.Databricks-workspaces_UseOnly_databricks-${rule.name}'
        properties: {
          access: 'Allow'
          direction: rule.direction
          priority: rule.priority
          protocol: rule.protocol
          sourceAddressPrefix: 'VirtualNetwork'
          sourcePortRange: '*'
          destinationAddressPrefix: rule.to
          destinationPortRange: rule.port
        }
      }
    ]
  }
}

resource address 'Microsoft.Network/publicIPAddresses@2024-05-01' = {
  name: name
  location: location
  tags: tags
  sku: { name: 'Standard' }
  properties: { publicIPAllocationMethod: 'Static' }
}

// Sources and the API of Databricks are on the internet: this is the one address they see.
resource outbound 'Microsoft.Network/natGateways@2024-05-01' = {
  name: name
  location: location
  tags: tags
  sku: { name: 'Standard' }
  properties: {
    publicIpAddresses: [
      { id: address.id }
    ]
  }
}

resource network 'Microsoft.Network/virtualNetworks@2024-05-01' = {
  name: name
  location: location
  tags: tags
  properties: {
    addressSpace: { addressPrefixes: [addressRange] }
    subnets: [
      {
        name: functionsSubnet
        properties: {
          addressPrefix: cidrSubnet(addressRange, 25, 0)
          natGateway: { id: outbound.id }
          defaultOutboundAccess: false
          delegations: [
            {
              name: 'flex'
              properties: { serviceName: 'Microsoft.App/environments' }
            }
          ]
        }
      }
      {
        name: endpointsSubnet
        properties: {
          addressPrefix: cidrSubnet(addressRange, 25, 1)
          defaultOutboundAccess: false
        }
      }
      {
        name: databricksPublicSubnet
        properties: {
          addressPrefix: cidrSubnet(addressRange, 24, 1)
          natGateway: { id: outbound.id }
          defaultOutboundAccess: false
          networkSecurityGroup: { id: clusters.id }
          delegations: [
            {
              name: 'databricks'
              properties: { serviceName: 'Microsoft.Databricks/workspaces' }
            }
          ]
        }
      }
      {
        name: databricksPrivateSubnet
        properties: {
          addressPrefix: cidrSubnet(addressRange, 24, 2)
          natGateway: { id: outbound.id }
          defaultOutboundAccess: false
          networkSecurityGroup: { id: clusters.id }
          delegations: [
            {
              name: 'databricks'
              properties: { serviceName: 'Microsoft.Databricks/workspaces' }
            }
          ]
        }
      }
    ]
  }
}

resource zones 'Microsoft.Network/privateDnsZones@2024-06-01' = [
  for zone in zoneNames: {
    name: zone
    location: 'global'
    tags: tags
  }
]

resource links 'Microsoft.Network/privateDnsZones/virtualNetworkLinks@2024-06-01' = [
  for (zone, index) in zoneNames: {
    parent: zones[index]
    name: name
    location: 'global'
    tags: tags
    properties: {
      registrationEnabled: false
      virtualNetwork: { id: network.id }
    }
  }
]

output id string = network.id
output outboundAddress string = address.properties.ipAddress
output functionsSubnetId string = '${network.id}/subnets/${functionsSubnet}'
output endpointsSubnetId string = '${network.id}/subnets/${endpointsSubnet}'
output databricksPublicSubnet string = databricksPublicSubnet
output databricksPrivateSubnet string = databricksPrivateSubnet
