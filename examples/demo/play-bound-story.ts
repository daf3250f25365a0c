import { inGroupsOfFour } from '../authorization-server/groups-of-four.js'
import { choosePayment, readAccounts } from './accounts.js'
import { createBankClient } from './bank-client.js'
import { expectEqual } from './expectations.js'
import {
  amountCents,
  describeAccounts,
  describeGrant,
  describePayment,
  describeRefusal,
  postTransfer,
  type StoryOptions,
} from './story-parts.js'
import type { Print } from './terminal.js'

/**
 * Plays the variant in which the token is bound to one payment (RFC 9396): the client names the payment when it asks for the
 * step-up, the person approves amount and payee on the page of the second factor, and the token moves just that. Resolves
 * and rejects as the story does.
 */
export async function playBoundStory({ apiUrl, issuer, person, stepUp }: StoryOptions, print: Print): Promise<void> {
  const bank = await createBankClient({ apiUrl, issuer, person, print })

  print({ kind: 'step', text: `1. ${person.username} signs in with a password, and the app shows the accounts` })
  const reading = await bank.requestToken({ scope: 'openid read:accounts' })
  const before = await readAccounts(bank, reading.accessToken)
  print({ kind: 'answer', text: `200: ${describeAccounts(before)}` })
  const { debtor, creditor } = choosePayment(before, amountCents)
  const { authorization_details_types_supported: types } = await bank.readResourceMetadata()
  expectEqual('the types of authorization details in the metadata', types, ['payment_initiation'])

  print({ kind: 'step', text: '2. The step-up names the payment, and the page shows what is approved' })
  const approved = describePayment(debtor, creditor, amountCents)
  const authorizationDetails = JSON.stringify([{ type: 'payment_initiation', ...approved }])
  print({ kind: 'request', text: `authorization request: authorization_details ${authorizationDetails}` })
  const paying = await bank.requestToken({
    scope: 'transfer:funds',
    acr_values: stepUp.acrValues,
    max_age: String(stepUp.maxAgeSeconds),
    authorization_details: authorizationDetails,
  })
  expectEqual('what the user was asked', paying.questions, ['second factor'])
  expectEqual('what the page says will be approved', Object.fromEntries(paying.approved), {
    Amount: '25.00 EUR',
    To: inGroupsOfFour(creditor.iban),
    From: inGroupsOfFour(debtor.iban),
    Reference: approved.remittanceInformationUnstructured,
  })
  print({ kind: 'note', text: [...paying.approved].map(([term, text]) => `${term}: ${text}`).join('; ') })
  print({ kind: 'answer', text: describeGrant(paying) })

  print({ kind: 'step', text: '3. The token does not move ten times as much' })
  const dearer = describePayment(debtor, creditor, amountCents * 10n)
  const refused = await postTransfer(bank, paying.accessToken, dearer)
  expectEqual('the status', refused.status, 403)
  expectEqual('the error', refused.challenge?.['error'], 'insufficient_scope')
  const { authorization_details: asked } = refused.body as { authorization_details?: unknown }
  expectEqual('what the refusal says to ask for', asked, [{ type: 'payment_initiation', ...dearer }])
  print({ kind: 'refusal', text: describeRefusal(refused) })
  print({ kind: 'next', text: `What the client would have to ask for: authorization_details ${JSON.stringify(asked)}` })
  expectEqual('the accounts', await readAccounts(bank, reading.accessToken), before)

  print({ kind: 'step', text: '4. It moves what was approved' })
  const booked = await postTransfer(bank, paying.accessToken, approved)
  expectEqual('the status', booked.status, 201)
  print({ kind: 'answer', text: `201, Location: ${booked.headers.get('location')}` })
  print({ kind: 'note', text: describeAccounts(await readAccounts(bank, reading.accessToken)) })
}
