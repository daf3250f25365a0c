import { demoClient, demoUsers } from '../authorization-server/demo-users.js'
import { type DemoSettings, readDemoSettings } from './settings.js'

/** What the demo prints when it is up: where everything is, who can sign in, and commands to try. */
export function describeDemo(settings: DemoSettings): string {
  const { apiUrl, issuer, bankWebUrl, intranetUrl, dataFolder, apiPort, issuerPort } = settings
  const places = [
    ['Bank', `${bankWebUrl} (sign in as alice, and make a transfer)`],
    ['Intranet', `${intranetUrl} (click Customers, then Employees: the second asks for a second factor)`],
    ['API', `${apiUrl} (its documentation: ${apiUrl}/docs)`],
    ['Authorization server', issuer],
    ['Client', `${demoClient.client_id}, redirect URI ${demoClient.redirect_uris[0]} on any port`],
    ['Data', `${dataFolder} (delete it to start over)`],
  ]
  const people = [
    ['User', 'Password', 'TOTP secret'],
    ...demoUsers.map(({ username, password, totpSecret }) => [username, password, totpSecret]),
  ]
  const defaults = readDemoSettings({})
  const ports = [
    ...(apiPort === defaults.apiPort ? [] : [`--api ${apiUrl} `]),
    ...(issuerPort === defaults.issuerPort ? [] : [`--issuer ${issuer} `]),
  ]
  const token = (scope: string) => `TOKEN=$(npm run --silent story -- ${ports.join('')}--token ${scope})`
  const bearer = '-H "Authorization: Bearer $TOKEN"'
  const payment = JSON.stringify({
    debtorAccount: { iban: 'DE89370400440532013000' },
    creditorAccount: { iban: 'NL91ABNA0417164300' },
    instructedAmount: { currency: 'EUR', amount: '10.00' },
  })
  return `
The demo is up. Ctrl-C ends it.

${table(places)}

${table(people)}

Open the bank in a browser; "What happens" on its page shows the exchange. For a code, put the secret into an authenticator app, or
print one of ${demoUsers[0]?.username}'s here. A code works once, and the story above has used one: wait for the next if it is refused.

  node -p 'new (require("otpauth").TOTP)({ secret: "${demoUsers[0]?.totpSecret}" }).generate()'

In another terminal, in this folder:

  ${token('read:accounts')}
  curl -s ${apiUrl}/accounts ${bearer}
  curl -si ${apiUrl}/transfers ${bearer} -H 'Content-Type: application/json' -d '${payment}'

The transfer is refused with a step-up challenge. With this token it works, once:

  ${token('transfer:funds')}

The story with a token that is bound to one payment, approved on the page (RFC 9396):

  npm run story -- ${ports.join('')}--bound

`
}

function table(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)))
  return rows
    .map((row) => `  ${row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join('  ')}`.trimEnd())
    .join('\n')
}
