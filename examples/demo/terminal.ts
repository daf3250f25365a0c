/** One line of the story, by what it is. */
export interface StoryLine {
  readonly kind: 'step' | 'request' | 'answer' | 'refusal' | 'next' | 'note'
  readonly text: string
}

/** Where the story's lines go. */
export type Print = (line: StoryLine) => void

type TextStyle = { readonly mark: string; readonly sgr: string }

const styles: Readonly<Record<StoryLine['kind'], TextStyle>> = {
  step: { mark: '\n', sgr: '1' },
  request: { mark: '  → ', sgr: '36' },
  answer: { mark: '  ← ', sgr: '32' },
  refusal: { mark: '  ← ', sgr: '33' },
  next: { mark: '  ⇒ ', sgr: '35' },
  note: { mark: '    ', sgr: '2' },
}

/** Prints lines to a stream, in colour when that is a terminal and NO_COLOR (no-color.org) is unset or empty. */
export function printTo(stream: NodeJS.WriteStream, environment: NodeJS.ProcessEnv): Print {
  const inColour = stream.isTTY && !environment['NO_COLOR']
  return ({ kind, text }) => {
    const { mark, sgr } = styles[kind]
    stream.write(inColour ? `${mark}\u001b[${sgr}m${text}\u001b[0m\n` : `${mark}${text}\n`)
  }
}
