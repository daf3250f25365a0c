import express from 'express'
import { auth, requiredScopes } from 'express-oauth2-jwt-bearer'
import { openAccountQuery } from '../../.build/bench/candidates/accounts.js'

/** express-oauth2-jwt-bearer as its README shows it, with the scope that the route asks for. */
const { PORT, DATA_DIR, ISSUER, AUDIENCE, ALGORITHM } = process.env
const accountsOf = await openAccountQuery(DATA_DIR)

const app = express()
app.use(auth({ issuerBaseURL: ISSUER, audience: AUDIENCE, tokenSigningAlg: ALGORITHM }))

app.get('/accounts', requiredScopes('read:accounts'), async (request, response) => {
  const { iss, sub } = request.auth.payload
  response.json(await accountsOf({ issuer: iss, subject: sub }))
})

app.listen(Number(PORT), '127.0.0.1')
