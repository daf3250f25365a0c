import { randomUUID } from 'node:crypto'
import fc from 'fast-check'
import { ProofMaker } from '../helpers/dpop.js'
import { publicUrl, transferBody } from '../helpers/test-api.js'
import { makeProof, type ProofAlgorithm, proofClaims, proofDrafts, proofFields, type Signers } from './proof-draft.js'
import { judgeProof } from './proof-oracle.js'
import { jsonType, secretsOf, type WatchedApi } from './watched-api.js'

const body = JSON.stringify(transferBody({ instructedAmount: { currency: 'EUR', amount: '0.01' } }))
/** The second, when so many cents were paid that nothing is left. */
const paid = [201, 422]

/** DPoP proofs in all states, for a transfer; then a good one for the same token, or the same again. */
export function proofs(watched: WatchedApi) {
  const { api } = watched
  const { clock, tokens } = api
  const nowSeconds = clock.nowSeconds
  const makers = (alg: string): Signers => ({
    client: new ProofMaker(clock, { alg }),
    thief: new ProofMaker(clock, { alg }),
  })
  const edwards = makers('EdDSA')
  const signers: Record<ProofAlgorithm, Signers> = {
    ES256: makers('ES256'),
    PS256: makers('PS256'),
    EdDSA: edwards,
    Ed25519: edwards,
  }
  const taken = new Set<string>()
  let nonce: Promise<string> | undefined

  async function askNonce(): Promise<string> {
    const { client } = signers.ES256
    const token = tokens.read(client.binding)
    const { authorization, dpop } = client.headers({ method: 'GET', path: '/accounts', token })
    const fields = [`Authorization: ${authorization}`, `DPoP: ${dpop}`]
    const { headers } = await watched.send({ method: 'GET', target: '/accounts', fields })
    return headers.get('dpop-nonce') as string
  }

  return fc.asyncProperty(proofDrafts({ signers, nowSeconds }), async (draft) => {
    nonce ??= askNonce()
    const { client } = signers[draft.algorithm]
    const token = tokens.transfer(client.binding)
    const request = { method: 'POST', path: '/transfers', token }
    const claims = proofClaims(request, nowSeconds, await nonce)
    const proof = makeProof(draft, signers[draft.algorithm], claims)
    const lines = proofFields(draft, proof)
    const values = lines.filter((line) => /^dpop:/i.test(line)).map((line) => line.slice(line.indexOf(':') + 1).trim())
    const { valid, reason, identity } = await judgeProof(values, {
      ...{ method: 'POST', address: `${publicUrl}/transfers`, token, nowSeconds },
      ...{ keyThumbprint: client.thumbprint, nonce: await nonce },
    })
    const isReplay = identity !== undefined && taken.has(identity)
    if (identity !== undefined) taken.add(identity)
    const send = (proofLines: readonly string[]) =>
      watched.send({
        method: 'POST',
        target: '/transfers',
        fields: [`Authorization: DPoP ${token}`, ...proofLines, jsonType],
        body,
        secrets: [...secretsOf(token), ...secretsOf(proof)],
      })
    const first = await send(lines)
    const expected = valid && !isReplay ? paid : [401]
    const described = `${isReplay ? 'a replay' : reason}\n${lines.join('\n')}`
    if (!expected.includes(first.status)) throw new Error(`answer ${first.status}, but: ${described}`)
    if ((await send(lines)).status !== 401) throw new Error(`a second time: ${described}`)
    const good = client.sign({ ...claims, jti: randomUUID() })
    const { status } = await send([`DPoP: ${good}`])
    const next = first.status === 401 ? paid : [401]
    if (!next.includes(status)) throw new Error(`${status} by a good proof after ${first.status}: ${described}`)
  })
}
