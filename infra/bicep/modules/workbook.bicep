// The workbook: the pipeline as a picture, then what a person on call asks next.
// Its queries are in infra/workbook, one a file.

import { datasetType, limitsType } from '../types.bicep'

param displayName string
param location string
param tags object
param logsId string
param datasets datasetType[]
param limits limitsType

var datasetRows = join(map(datasets, dataset => '\'${dataset.name}\', ${dataset.freshnessSeconds}'), ', ')
var picture = replace(
  replace(
    replace(loadTextContent('../../workbook/arrows.kql'), '{{datasets}}', datasetRows),
    '{{lagEvents}}',
    string(limits.lagEvents)
  ),
  '{{runLateSeconds}}',
  string(limits.runLateSeconds)
)

var charts = [
  { name: 'freshness', title: 'Freshness: minutes behind the source', query: loadTextContent('../../workbook/freshness.kql'), view: 'timechart' }
  { name: 'lag', title: 'Lag: events that are not landed', query: loadTextContent('../../workbook/lag.kql'), view: 'timechart' }
  { name: 'throughput', title: 'Throughput', query: loadTextContent('../../workbook/throughput.kql'), view: 'timechart' }
  { name: 'quarantine', title: 'Quarantine', query: loadTextContent('../../workbook/quarantine.kql'), view: 'table' }
  { name: 'runs', title: 'Runs', query: loadTextContent('../../workbook/runs.kql'), view: 'table' }
]

var introduction = {
  type: 1
  name: 'introduction'
  content: { json: loadTextContent('../../workbook/introduction.md') }
}
var timeRange = {
  type: 9
  name: 'parameters'
  content: {
    version: 'KqlParameterItem/1.0'
    parameters: [
      {
        id: guid(displayName, 'time-range')
        version: 'KqlParameterItem/1.0'
        name: 'TimeRange'
        label: 'Time'
        type: 4
        isRequired: true
        value: { durationMs: 14400000 }
        typeSettings: {
          selectableValues: [
            { durationMs: 3600000 }
            { durationMs: 14400000 }
            { durationMs: 86400000 }
            { durationMs: 604800000 }
          ]
        }
      }
    ]
  }
}
var arrows = {
  type: 3
  name: 'arrows'
  content: {
    version: 'KqlItem/1.0'
    title: 'Every arrow'
    query: picture
    size: 4
    queryType: 0
    resourceType: 'microsoft.operationalinsights/workspaces'
    timeContextFromParameter: 'TimeRange'
    visualization: 'tiles'
    tileSettings: {
      titleContent: { columnMatch: 'Arrow', formatter: 1 }
      leftContent: {
        columnMatch: 'State'
        formatter: 18
        formatOptions: {
          thresholdsOptions: 'icons'
          thresholdsGrid: [
            { operator: '==', thresholdValue: 'flows', representation: 'success', text: '{0}' }
            { operator: '==', thresholdValue: 'troubled', representation: '4', text: '{0}' }
            { operator: 'Default', representation: '2', text: '{0}' }
          ]
        }
      }
      subtitleContent: { columnMatch: 'Figure', formatter: 1 }
      showBorder: true
    }
  }
}
var chartItems = map(charts, chart => {
  type: 3
  name: chart.name
  content: {
    version: 'KqlItem/1.0'
    title: chart.title
    query: chart.query
    size: 1
    queryType: 0
    resourceType: 'microsoft.operationalinsights/workspaces'
    timeContextFromParameter: 'TimeRange'
    visualization: chart.view
  }
})
var costRequest = {
  version: 'ARMEndpoint/1.0'
  method: 'POST'
  path: '${resourceGroup().id}/providers/Microsoft.CostManagement/query?api-version=2024-08-01'
  headers: []
  urlParams: []
  batchDisabled: false
  data: string({
    type: 'ActualCost'
    timeframe: 'MonthToDate'
    dataset: {
      granularity: 'None'
      aggregation: { cost: { name: 'Cost', function: 'Sum' } }
      grouping: [
        { type: 'Dimension', name: 'ServiceName' }
      ]
    }
  })
  transformers: [
    {
      type: 'jsonpath'
      settings: {
        tablePath: '$.properties.rows'
        columns: [
          { path: '[1]', columnid: 'Service' }
          { path: '[0]', columnid: 'Cost', columnType: 'double' }
          { path: '[2]', columnid: 'Currency' }
        ]
      }
    }
  ]
}
var cost = {
  type: 3
  name: 'cost'
  content: {
    version: 'KqlItem/1.0'
    title: 'Cost of this month'
    query: string(costRequest)
    size: 1
    queryType: 12
    visualization: 'table'
  }
}

resource workbook 'Microsoft.Insights/workbooks@2023-06-01' = {
  name: guid(resourceGroup().id, 'pipeline')
  location: location
  tags: tags
  kind: 'shared'
  properties: {
    displayName: displayName
    category: 'workbook'
    sourceId: logsId
    serializedData: string({
      version: 'Notebook/1.0'
      items: concat([introduction, timeRange, arrows], chartItems, [cost])
      fallbackResourceIds: [logsId]
    })
  }
}
