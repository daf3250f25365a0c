import { readdirSync } from 'node:fs'

/** Coverage is asked of src alone, and of every file in it, whichever test loads it. */
const sources = readdirSync('src', { recursive: true })
  .filter((name) => name.endsWith('.ts'))
  .map((name) => `src/${name}`)

export default () => sources
