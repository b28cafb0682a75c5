// The second step, once the code runs: blobs that say "something landed" call launch_runs.
// Not before: the key of the endpoint exists only once the host has loaded a blob function, and
// Event Grid asks the endpoint whether it wants the events.

param topicName string
param functionAppName string
param hostStorageName string
param deadLetterContainer string

@description('The function on the position blobs; functions/raw_to_run.py says its name.')
param functionName string = 'launch_runs'

@description('Blobs of interest: the positions, not the raw blobs themselves.')
param subjectPrefix string = '/blobServices/default/containers/state/blobs/landed/'

resource site 'Microsoft.Web/sites@2024-11-01' existing = {
  name: functionAppName
}

resource hostStorage 'Microsoft.Storage/storageAccounts@2025-01-01' existing = {
  name: hostStorageName
}

resource topic 'Microsoft.EventGrid/systemTopics@2025-02-15' existing = {
  name: topicName
}

var key = listKeys('${site.id}/host/default', '2024-11-01').systemKeys.blobs_extension

resource delivery 'Microsoft.EventGrid/systemTopics/eventSubscriptions@2025-02-15' = {
  parent: topic
  name: replace(functionName, '_', '-')
  properties: {
    eventDeliverySchema: 'EventGridSchema'
    filter: {
      includedEventTypes: ['Microsoft.Storage.BlobCreated']
      subjectBeginsWith: subjectPrefix
      subjectEndsWith: '.json'
    }
    destination: {
      endpointType: 'WebHook'
      properties: {
        endpointUrl: 'https://${site.properties.defaultHostName}/runtime/webhooks/blobs?functionName=Host.Functions.${functionName}&code=${key}'
      }
    }
    retryPolicy: {
      maxDeliveryAttempts: 10
      eventTimeToLiveInMinutes: 60 // The sweep of the tracking timer is sooner than any later attempt.
    }
    deadLetterWithResourceIdentity: {
      identity: { type: 'SystemAssigned' }
      deadLetterDestination: {
        endpointType: 'StorageBlob'
        properties: {
          resourceId: hostStorage.id
          blobContainerName: deadLetterContainer
        }
      }
    }
  }
}
