import { onGrantChange, scopesHeld } from './access.js'
import { byId, h } from './dom.js'
import { onTrace, readTrace, type TraceEntry } from './trace.js'

const openName = 'panel-open'
const unknowingName = 'panel-unknowing'

/** Whether the app acts on what it knows about scopes. Off, it learns from the API's challenge, as with old knowledge. */
export function knowsScopes(): boolean {
  return sessionStorage.getItem(unknowingName) === null
}

/** The panel that shows the exchange as it happens, for those who came to learn. Returns the button that opens it. */
export function makePanel(): HTMLElement {
  const panel = byId('panel')
  const isOpen = () => sessionStorage.getItem(openName) !== null
  const toggle = h('button', { type: 'button', class: 'plain', 'aria-controls': 'panel', click: flip }, 'What happens')
  const scopes = h('p', { class: 'scopes' })
  const entries = h('ol', { class: 'trace', tabindex: '0', 'aria-label': 'Requests, newest last' })
  const unknowing = h('input', { type: 'checkbox', id: 'unknowing', change: remember, checked: !knowsScopes() })
  panel.append(
    h('h2', {}, 'What happens'),
    scopes,
    h(
      'p',
      { class: 'choice' },
      unknowing,
      h('label', { for: 'unknowing' }, 'Pretend not to know which scope a transfer needs'),
    ),
    entries,
  )

  function flip(): void {
    if (isOpen()) sessionStorage.removeItem(openName)
    else sessionStorage.setItem(openName, '')
    showPanel()
    // On a small screen it is below everything else.
    if (isOpen()) panel.scrollIntoView({ block: 'nearest' })
  }

  function remember(): void {
    if (unknowing.checked) sessionStorage.setItem(unknowingName, '')
    else sessionStorage.removeItem(unknowingName)
  }

  function showPanel(): void {
    panel.hidden = !isOpen()
    toggle.setAttribute('aria-expanded', String(isOpen()))
    if (!isOpen()) return
    scopes.replaceChildren('Scopes held now: ', h('strong', {}, scopesHeld() || 'none, there is no token'))
    entries.replaceChildren(...readTrace().map(entryItem))
    entries.scrollTop = entries.scrollHeight
  }

  onTrace(showPanel)
  onGrantChange(showPanel)
  showPanel()
  return toggle
}

function entryItem({ kind, title, details }: TraceEntry): HTMLElement {
  return h(
    'li',
    { class: kind },
    h('p', { class: 'trace-title' }, title),
    details.length === 0
      ? undefined
      : h('dl', {}, ...details.map(([term, text]) => h('div', {}, h('dt', {}, term), h('dd', {}, text)))),
  )
}
