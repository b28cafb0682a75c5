// What `azd` takes: an environment of its own name, as large as MILLRACE_SIZE says.
using 'main.bicep'

param environmentName = readEnvironmentVariable('AZURE_ENV_NAME')
param size = any(readEnvironmentVariable('MILLRACE_SIZE', 'dev'))
param operators = {
  name: readEnvironmentVariable('OPERATORS_NAME')
  objectId: readEnvironmentVariable('OPERATORS_OBJECT_ID')
}
param analysts = {
  name: readEnvironmentVariable('ANALYSTS_NAME', '')
  objectId: readEnvironmentVariable('ANALYSTS_OBJECT_ID', '')
}
param smokeTestPrincipalId = readEnvironmentVariable('SMOKE_TEST_PRINCIPAL_ID', '')
param sourceSettings = json(readEnvironmentVariable('SOURCE_SETTINGS', '{}'))
param privateNetwork = bool(readEnvironmentVariable('PRIVATE_NETWORK', 'false'))
param ledger = readEnvironmentVariable('LEDGER', '')
param sqlClients = json(readEnvironmentVariable('SQL_CLIENTS', '[]'))
