/** Text that may stand in a page as it is. */
export interface Markup {
  readonly markup: string
}

type Value = Markup | readonly Markup[] | string | number | undefined

const escapes: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
}

/** A page or a part of one. Every value is escaped, unless it is markup itself; undefined leaves nothing. */
export function html(parts: TemplateStringsArray, ...values: readonly Value[]): Markup {
  return { markup: parts.map((part, index) => part + render(values[index])).join('') }
}

/** Marks text as markup without escaping it. Only for text that no user and no client can influence. */
export function trusted(markup: string): Markup {
  return { markup }
}

function render(value: Value): string {
  if (value === undefined) return ''
  if (typeof value === 'string' || typeof value === 'number') {
    return String(value).replaceAll(/[&<>"']/g, (character) => escapes[character] ?? '')
  }
  return 'markup' in value ? value.markup : value.map(({ markup }) => markup).join('')
}
