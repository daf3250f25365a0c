import { byId, type Child, h } from './dom.js'

const slowMs = 300
let announceTimer: ReturnType<typeof setTimeout> | undefined
/** Counts screens, so that progress is not shown over one that came later. */
let screensShown = 0

/** One screen: its heading stands in the window's title as well. */
export interface Screen {
  readonly title: string
  readonly content: readonly Child[]
  /** Narrow by default, which is good to read and to fill in. */
  readonly wide?: boolean
  /** Where the focus goes; to the heading unless told otherwise. */
  readonly focus?: () => HTMLElement | null
}

/** Shows a screen and moves the focus to its heading, so that a screen reader starts there. */
export function show({ title, content, wide = false, focus }: Screen): void {
  screensShown += 1
  const heading = h('h1', { tabindex: '-1' }, title)
  const main = byId('main')
  main.className = wide ? 'wide' : ''
  main.replaceChildren(heading, ...content.filter((child) => child !== undefined))
  main.removeAttribute('aria-busy')
  document.title = `${title} · Stepgate Bank`
  announce('')
  window.scrollTo(0, 0)
  const target = focus?.() ?? heading
  target.focus({ preventScroll: true })
}

/** Says something to those who listen, without moving the focus. */
export function announce(text: string): void {
  clearTimeout(announceTimer)
  byId('status').textContent = text
}

/**
 * Waits, and says so on the screen only when it takes more than 300 ms. What says so then stays as long, so that nothing
 * flashes. Whatever stood there before goes away only with the progress or with what comes next.
 */
export async function whileWaiting<Result>(title: string, work: Promise<Result>, placeholder?: Child): Promise<Result> {
  let shownAtMs: number | undefined
  const screensBefore = screensShown
  const timer = setTimeout(() => {
    if (screensShown !== screensBefore) return
    shownAtMs = performance.now()
    show({
      title,
      content: [h('div', { class: 'progress', 'aria-hidden': 'true' }), placeholder],
      wide: placeholder !== undefined,
    })
    byId('main').setAttribute('aria-busy', 'true')
    announce(title)
  }, slowMs)
  try {
    return await work
  } finally {
    clearTimeout(timer)
    if (shownAtMs !== undefined) {
      const remainingMs = shownAtMs + slowMs - performance.now()
      if (remainingMs > 0) await new Promise((resolve) => setTimeout(resolve, remainingMs))
    }
  }
}

let attempt = async (step: () => void | Promise<void>): Promise<void> => step()

/** Says who shows what stopped a button's work. */
export function guardActions(guard: typeof attempt): void {
  attempt = guard
}

/** A button that does something once at a time: it does not answer while its work lasts. */
export function actionButton(label: string, act: () => void | Promise<void>, style: 'primary' | 'plain' = 'plain') {
  const button = h('button', { type: 'button', class: style, click: () => void run() }, label)
  async function run(): Promise<void> {
    if (button.getAttribute('aria-disabled') === 'true') return
    button.setAttribute('aria-disabled', 'true')
    try {
      await attempt(act)
    } finally {
      button.removeAttribute('aria-disabled')
    }
  }
  return button
}
