// The parts of the document as the modules get them: checked, and with every default filled in.

@export()
@description('A hub: one material.')
type hubType = {
  @minLength(1)
  @maxLength(50)
  material: string

  @minValue(1)
  @maxValue(32)
  partitions: int

  @minValue(1)
  @maxValue(168)
  retentionHours: int

  consumerGroups: string[]
}

@export()
@description('A table, and how far it may be behind its source.')
type datasetType = {
  name: string
  material: string

  @minValue(1)
  freshnessSeconds: int
}

@export()
@description('A timer function, and how long it may say nothing.')
type timerType = {
  name: string

  @minValue(1)
  silentSeconds: int
}

@export()
@description('When somebody is told.')
type limitsType = {
  @minValue(1)
  lagEvents: int

  @minValue(1)
  runLateSeconds: int

  @minValue(1)
  @maxValue(86400)
  silentSeconds: int
}

@export()
@description('A group or person in Entra ID.')
type principalType = {
  name: string
  objectId: string
}

@export()
@description('Addresses that may reach the SQL endpoint.')
type rangeType = {
  name: string
  first: string
  last: string
}

@export()
@description('Where the private network lets the services in.')
type networkType = {
  id: string
  functionsSubnetId: string
  databricksPublicSubnet: string
  databricksPrivateSubnet: string
}
