import { type Account, choosePayment, formatCents, readAccounts } from './accounts.js'
import { type Answer, createBankClient, type Grant } from './bank-client.js'
import { expectEqual, expectThat } from './expectations.js'
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
 * Plays the story: a standard login reads accounts; a transfer is refused with a step-up challenge; the client asks for
 * exactly what the challenge says, the person gives a second factor, and the new token moves money once and not again.
 * Resolves when all is as told. Rejects with StoryDiffers at the first thing that is not. Moves 25.00 EUR between two
 * accounts of one person, so it can be told any number of times.
 */
export async function playStory({ apiUrl, issuer, person, stepUp }: StoryOptions, print: Print): Promise<void> {
  const bank = await createBankClient({ apiUrl, issuer, person, print })
  const resourceMetadataUrl = new URL('/.well-known/oauth-protected-resource', apiUrl).href

  print({ kind: 'step', text: `1. ${person.username} signs in with a password, to read accounts` })
  print({ kind: 'request', text: 'authorization request: code flow with PKCE, scope "openid read:accounts"' })
  const reading = await bank.requestToken({ scope: 'openid read:accounts' })
  expectEqual('what the user was asked', reading.questions, ['password'])
  expectEqual('the scope of the token', reading.scope, 'read:accounts')
  expectEqual('the authentication level', reading.idToken?.['authentication_level'], 'normal')
  print({ kind: 'answer', text: describeGrant(reading) })

  print({ kind: 'step', text: '2. The app shows the accounts' })
  print({ kind: 'request', text: 'GET /accounts' })
  const before = await readAccounts(bank, reading.accessToken)
  print({ kind: 'answer', text: `200: ${describeAccounts(before)}` })
  const { debtor, creditor } = choosePayment(before, amountCents)

  print({ kind: 'step', text: '3. The app tries a transfer with the same token' })
  const refused = await transfer(reading)
  expectEqual('the status', refused.status, 403)
  expectEqual('the challenge', refused.challenge, {
    realm: 'stepgate',
    error: 'insufficient_scope',
    scope: 'transfer:funds',
    acr_values: stepUp.acrValues,
    max_age: String(stepUp.maxAgeSeconds),
    resource_metadata: resourceMetadataUrl,
    error_description: 'Multi-factor authentication is required for transfers',
  })
  print({ kind: 'refusal', text: describeRefusal(refused) })
  expectBalances(await readAccounts(bank, reading.accessToken), before, 0n)
  const { authorization_servers: issuers } = await bank.readResourceMetadata()
  expectEqual('the authorization servers in the metadata', issuers, [issuer])
  print({ kind: 'note', text: `${resourceMetadataUrl} names the authorization server: ${issuer}` })
  print({
    kind: 'next',
    text: 'What the client does next: it sends the user there again, and asks for what the challenge says.',
  })

  print({ kind: 'step', text: '4. The step-up: the session is known, so only the second factor is asked for' })
  const { scope = '', acr_values: acrValues = '', max_age: maxAge = '' } = refused.challenge ?? {}
  print({
    kind: 'request',
    text: `authorization request: scope "${scope}", acr_values "${acrValues}", max_age ${maxAge}`,
  })
  const paying = await bank.requestToken({ scope, acr_values: acrValues, max_age: maxAge })
  expectEqual('what the user was asked', paying.questions, ['second factor'])
  expectEqual('the scope of the token', paying.scope, 'transfer:funds')
  expectEqual('the acr of the new authentication', paying.idToken?.['acr'], stepUp.acrValues)
  expectEqual('the authentication level', paying.idToken?.['authentication_level'], 'mfa')
  print({ kind: 'answer', text: describeGrant(paying) })

  print({ kind: 'step', text: '5. The transfer, with the new token' })
  const booked = await transfer(paying)
  expectEqual('the status', booked.status, 201)
  expectThat(/^\/transfers\/.+/.test(booked.headers.get('location') ?? ''), 'there is no Location of the transfer')
  const after = await readAccounts(bank, reading.accessToken)
  expectBalances(after, before, amountCents)
  print({ kind: 'answer', text: `201, Location: ${booked.headers.get('location')}` })
  print({ kind: 'note', text: `moved once: ${describeAccounts(after)}` })

  print({ kind: 'step', text: '6. The same token again, for another transfer' })
  const replayed = await transfer(paying)
  expectEqual('the status', replayed.status, 401)
  expectEqual('the error', replayed.challenge?.['error'], 'invalid_token')
  expectEqual('its description', replayed.challenge?.['error_description'], 'The access token was already used')
  print({ kind: 'refusal', text: describeRefusal(replayed) })
  expectBalances(await readAccounts(bank, reading.accessToken), before, amountCents)
  print({ kind: 'note', text: 'no money moved' })
  print({
    kind: 'next',
    text: 'What the client does next: for another transfer, another step-up. Never the same token again.',
  })

  print({ kind: 'step', text: '7. Reading goes on with the first token' })
  print({ kind: 'request', text: 'GET /accounts' })
  const last = await readAccounts(bank, reading.accessToken)
  expectBalances(last, before, amountCents)
  print({ kind: 'answer', text: `200: ${describeAccounts(last)}` })

  function transfer({ accessToken }: Grant): Promise<Answer> {
    const amount = formatCents(amountCents)
    print({ kind: 'request', text: `POST /transfers: ${amount} EUR from ${debtor.iban} to ${creditor.iban}` })
    return postTransfer(bank, accessToken, describePayment(debtor, creditor, amountCents))
  }

  function expectBalances(now: readonly Account[], then: readonly Account[], movedCents: bigint): void {
    const expected = then.map(({ iban, balanceCents }) => {
      const change = iban === debtor.iban ? -movedCents : iban === creditor.iban ? movedCents : 0n
      return `${iban} ${formatCents(balanceCents + change)}`
    })
    expectEqual(
      'the balances',
      now.map(({ iban, balanceCents }) => `${iban} ${formatCents(balanceCents)}`),
      expected,
    )
  }
}
