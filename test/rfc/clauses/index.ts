import { asvs } from './asvs.js'
import type { Standard } from './clause.js'
import { rfc6750 } from './rfc6750.js'
import { rfc8705 } from './rfc8705.js'
import { rfc8725 } from './rfc8725.js'
import { rfc9068 } from './rfc9068.js'
import { rfc9396 } from './rfc9396.js'
import { rfc9449 } from './rfc9449.js'
import { rfc9470 } from './rfc9470.js'
import { rfc9700 } from './rfc9700.js'
import { rfc9728 } from './rfc9728.js'

/** Every standard that this server is held to, clause by clause. */
export const standards: readonly Standard[] = [
  rfc6750,
  rfc9068,
  rfc9470,
  rfc9728,
  rfc9449,
  rfc8705,
  rfc9396,
  rfc8725,
  rfc9700,
  asvs,
]
