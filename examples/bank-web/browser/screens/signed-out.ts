import { actionButton, type Screen } from '../display.js'
import { h } from '../dom.js'

/** The first screen, and the one after a session ended. */
export function signedOutScreen({ notice, signIn }: { notice?: string; signIn: () => Promise<void> }): Screen {
  return {
    title: notice === undefined ? 'Welcome' : 'You are signed out',
    content: [
      h('p', { class: 'lead' }, notice ?? 'Your accounts, and a safe way to move money between people.'),
      h(
        'p',
        {},
        'Reading takes a password. Moving money takes one more proof, each time, so that nobody else can do it in your name.',
      ),
      h('div', { class: 'actions' }, actionButton('Sign in', signIn, 'primary')),
    ],
  }
}

/** Something went wrong that a person can only take note of, and try again. */
export function troubleScreen({
  title,
  text,
  actions,
}: {
  title: string
  text: readonly string[]
  actions: readonly HTMLElement[]
}): Screen {
  return {
    title,
    content: [...text.map((paragraph) => h('p', {}, paragraph)), h('div', { class: 'actions' }, ...actions)],
  }
}
