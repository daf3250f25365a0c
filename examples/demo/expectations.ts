import { isDeepStrictEqual } from 'node:util'

/** Something in the story is not as the story goes. */
export class StoryDiffers extends Error {
  override readonly name = 'StoryDiffers'
}

/** Throws StoryDiffers unless both are deeply equal. The message holds both, so pass nothing secret. */
export function expectEqual(what: string, actual: unknown, expected: unknown): void {
  if (isDeepStrictEqual(actual, expected)) return
  throw new StoryDiffers(`${what} is ${show(actual)}, and should be ${show(expected)}`)
}

/** Throws StoryDiffers with the message unless the condition holds. */
export function expectThat(condition: boolean, message: string): asserts condition {
  if (!condition) throw new StoryDiffers(message)
}

function show(value: unknown): string {
  return typeof value === 'bigint' ? String(value) : (JSON.stringify(value) ?? 'absent')
}
