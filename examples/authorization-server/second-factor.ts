import type { Markup } from './html.js'

/** One look at the second factor's page. */
interface SecondFactorStep {
  readonly username: string
  /** Names the interaction, so that a factor can tell two open pages of one user apart. Not secret, not guessable. */
  readonly interactionId: string
  /** What the user sent, or undefined when the page is opened. */
  readonly answer: string | undefined
}

/** What the page shows while the factor is not passed yet. */
export interface SecondFactorQuestion {
  readonly outcome: 'ask'
  /** The label of the one input. */
  readonly label: string
  readonly hint: string
  /** Attributes of the input, which browsers and password managers act on. */
  readonly input: { readonly autocomplete: string; readonly inputmode: 'numeric' | 'text' }
  /** Shown above the input when the user has to set the factor up first. */
  readonly enrolment?: Markup
  /** Why the answer was not taken. */
  readonly error?: string
}

/** The factor is passed; `amr` holds its authentication method references (RFC 8176), without "pwd" and "mfa". */
interface SecondFactorPassed {
  readonly outcome: 'passed'
  readonly amr: readonly string[]
}

/**
 * A second factor. It says what to ask, judges the answer, limits guesses and refuses what was used before. It knows
 * neither HTTP nor tokens. Whoever has another factor (a push message, a hardware key) writes this one function.
 */
export type SecondFactor = (step: SecondFactorStep) => Promise<SecondFactorQuestion | SecondFactorPassed>
