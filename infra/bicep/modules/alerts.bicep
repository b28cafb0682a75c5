// The alerts. Those on our own metrics are queries in infra/alerts, one a file, which name what they
// found in the column Subject; those on metrics of the platform are here. Each has a runbook.

import { datasetType, limitsType, timerType } from '../types.bicep'

param prefix string
param location string
param tags object
param logsId string
param namespaceId string
param topicId string
param actionGroupId string
param datasets datasetType[]
param timers timerType[]
param limits limitsType

var datasetRows = join(map(datasets, dataset => '\'${dataset.name}\', ${dataset.freshnessSeconds}'), ', ')
var timerRows = join(map(timers, timer => '\'${timer.name}\', ${timer.silentSeconds}'), ', ')

var rules = [
  {
    name: 'consumer-lag'
    severity: 2
    says: 'events wait in a hub'
    lookback: 'PT15M'
    query: replace(loadTextContent('../../alerts/consumer-lag.kql'), '{{lagEvents}}', string(limits.lagEvents))
  }
  {
    name: 'freshness'
    severity: 1
    says: 'a table is behind its source, or nobody knows'
    lookback: 'PT30M'
    query: replace(loadTextContent('../../alerts/freshness.kql'), '{{datasets}}', datasetRows)
  }
  {
    name: 'silence'
    severity: 1
    says: 'a timer of the function app is silent'
    lookback: 'P2D' // There is no more; a timer that may be silent for longer is not watched well.
    query: replace(loadTextContent('../../alerts/silence.kql'), '{{timers}}', timerRows)
  }
  {
    name: 'quarantined'
    severity: 3
    says: 'something could not be used'
    lookback: 'PT15M'
    query: loadTextContent('../../alerts/quarantined.kql')
  }
  {
    name: 'data-loss'
    severity: 0
    says: 'a hub dropped events before they were landed'
    lookback: 'PT15M'
    query: loadTextContent('../../alerts/data-loss.kql')
  }
  {
    name: 'gap-healed'
    severity: 3
    says: 'skipped events were read again'
    lookback: 'PT15M'
    query: loadTextContent('../../alerts/gap-healed.kql')
  }
  {
    name: 'runs-failed'
    severity: 1
    says: 'a run was given up'
    lookback: 'PT15M'
    query: loadTextContent('../../alerts/runs-failed.kql')
  }
  {
    name: 'runs-late'
    severity: 2
    says: 'a run does not end'
    lookback: 'PT15M'
    query: replace(loadTextContent('../../alerts/runs-late.kql'), '{{runLateSeconds}}', string(limits.runLateSeconds))
  }
  {
    name: 'source-refusing'
    severity: 2
    says: 'a source refuses us'
    lookback: 'PT15M'
    query: loadTextContent('../../alerts/source-refusing.kql')
  }
]

var undeliveredRules = [
  { metric: 'DeliveryAttemptFailCount', tolerated: 5 }
  { metric: 'DroppedEventCount', tolerated: 0 }
  { metric: 'DeadLetteredCount', tolerated: 0 }
]

resource queries 'Microsoft.Insights/scheduledQueryRules@2023-12-01' = [
  for rule in rules: {
    name: '${prefix}-${rule.name}'
    location: location
    tags: tags
    kind: 'LogAlert'
    properties: {
      displayName: '${prefix}: ${rule.says}'
      description: 'Runbook: docs/runbooks/${rule.name}.md'
      severity: rule.severity
      enabled: true
      scopes: [logsId]
      evaluationFrequency: 'PT5M'
      windowSize: 'PT5M'
      overrideQueryTimeRange: rule.lookback
      skipQueryValidation: true // A table exists once the first row is in it.
      autoMitigate: true
      criteria: {
        allOf: [
          {
            query: rule.query
            timeAggregation: 'Count'
            operator: 'GreaterThan'
            threshold: 0
            dimensions: [
              {
                name: 'Subject'
                operator: 'Include'
                values: ['*']
              }
            ]
            failingPeriods: {
              numberOfEvaluationPeriods: 1
              minFailingPeriodsToAlert: 1
            }
          }
        ]
      }
      actions: {
        actionGroups: [actionGroupId]
        customProperties: { runbook: 'docs/runbooks/${rule.name}.md' }
      }
    }
  }
]

resource throttled 'Microsoft.Insights/metricAlerts@2018-03-01' = {
  name: '${prefix}-throttled'
  location: 'global'
  tags: tags
  properties: {
    description: 'Hubs refuse requests: the namespace is at its limit. Runbook: docs/runbooks/throttled.md'
    severity: 2
    enabled: true
    scopes: [namespaceId]
    evaluationFrequency: 'PT5M'
    windowSize: 'PT15M'
    autoMitigate: true
    criteria: {
      'odata.type': 'Microsoft.Azure.Monitor.MultipleResourceMultipleMetricCriteria'
      allOf: [
        {
          criterionType: 'StaticThresholdCriterion'
          name: 'throttled'
          metricNamespace: 'Microsoft.EventHub/namespaces'
          metricName: 'ThrottledRequests'
          timeAggregation: 'Total'
          operator: 'GreaterThan'
          threshold: 10
          dimensions: [
            {
              name: 'EntityName'
              operator: 'Include'
              values: ['*']
            }
          ]
        }
      ]
    }
    actions: [
      { actionGroupId: actionGroupId }
    ]
  }
}

resource undelivered 'Microsoft.Insights/metricAlerts@2018-03-01' = [
  for rule in undeliveredRules: {
    name: '${prefix}-event-grid-${toLower(rule.metric)}'
    location: 'global'
    tags: tags
    properties: {
      description: 'Event Grid cannot deliver (${rule.metric}). Runbook: docs/runbooks/event-grid.md'
      severity: 3 // The sweep of the tracking timer finds the same blobs, later.
      enabled: true
      scopes: [topicId]
      evaluationFrequency: 'PT5M'
      windowSize: 'PT15M'
      autoMitigate: true
      criteria: {
        'odata.type': 'Microsoft.Azure.Monitor.SingleResourceMultipleMetricCriteria'
        allOf: [
          {
            criterionType: 'StaticThresholdCriterion'
            name: rule.metric
            metricNamespace: 'Microsoft.EventGrid/systemTopics'
            metricName: rule.metric
            timeAggregation: 'Total'
            operator: 'GreaterThan'
            threshold: rule.tolerated
          }
        ]
      }
      actions: [
        { actionGroupId: actionGroupId }
      ]
    }
  }
]
