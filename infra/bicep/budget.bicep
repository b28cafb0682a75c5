// The budget of one environment: told at half, at four fifths, when it is spent, and when it will be.
// A step of its own, because it needs to know since when there is a budget: the service takes no
// month but the current one for a new budget, and none but its first for one that is there.

param name string
param actionGroupId string

@description('The first day of the month it counts from, as `2026-11-01`.')
@minLength(10)
@maxLength(10)
param startDate string

@description('The document; `alerts` says how much and who is told.')
param document object = loadJsonContent('../../pipeline.json')

var alerts = document.?alerts ?? {}
var thresholds = [
  { name: 'half', percent: 50, type: 'Actual' }
  { name: 'most', percent: 80, type: 'Actual' }
  { name: 'spent', percent: 100, type: 'Actual' }
  { name: 'foreseen', percent: 110, type: 'Forecasted' }
]

resource budget 'Microsoft.Consumption/budgets@2024-08-01' = {
  name: name
  properties: {
    category: 'Cost'
    timeGrain: 'Monthly'
    amount: alerts.?monthlyBudget ?? 200
    timePeriod: { startDate: startDate }
    notifications: toObject(thresholds, threshold => (threshold.name), threshold => {
      enabled: true
      operator: 'GreaterThanOrEqualTo'
      threshold: threshold.percent
      thresholdType: threshold.type
      contactEmails: alerts.?emails ?? []
      contactGroups: [actionGroupId]
    })
  }
}
