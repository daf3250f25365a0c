import t from 'tap'
import { testLedgerContract } from '../ledger/ledger-contract.js'
import { ModelLedger } from './model-ledger.js'
import type { RemoteCalls } from './remote-calls.js'

/** Calls that commit and answer at once. */
const promptCalls: Pick<RemoteCalls, 'submit' | 'hasOther'> = {
  submit: async ({ commit }) => commit(undefined),
  hasOther: () => false,
}

testLedgerContract(t, async () => new ModelLedger(promptCalls as RemoteCalls))
