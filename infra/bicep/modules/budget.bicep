// The budget of one environment: told at half, at four fifths, when it is spent, and when it will be.

param name string

@minValue(1)
param amount int

param actionGroupId string
param emails string[]

@description('The month it counts from.')
param startDate string = '${utcNow('yyyy-MM')}-01'

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
    amount: amount
    timePeriod: { startDate: startDate }
    notifications: toObject(thresholds, threshold => (threshold.name), threshold => {
      enabled: true
      operator: 'GreaterThanOrEqualTo'
      threshold: threshold.percent
      thresholdType: threshold.type
      contactEmails: emails
      contactGroups: [actionGroupId]
    })
  }
}
