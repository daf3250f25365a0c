import type { FastifyReply, FastifyRequest } from 'fastify'
import type { IdTokenClaims } from 'stepgate'
import { html, type Markup, trusted } from '../authorization-server/html.js'
import { customers, employees } from './directory.js'
import { mark, style } from './page-style.js'
import type { Session } from './sessions.js'

/** A page: its title and what follows it. */
export interface Page {
  readonly title: string
  readonly content: Markup
}

/** Sends a page, and says who is signed in. */
export type ShowPage = (request: FastifyRequest, reply: FastifyReply, page: Page, statusCode?: number) => FastifyReply

/** The way on that every page without a better one offers. */
export const homeLink = ['/', 'Go to the home page'] as const

const places = [
  ['/', 'Home'],
  ['/customers', 'Customers'],
  ['/employees', 'Employees'],
  ['/profile', 'Profile'],
] as const

const dollars = new Intl.NumberFormat('en-US', { style: 'currency', currency: 'USD', maximumFractionDigits: 0 })

/** The whole document, with what every page has: the way around, and who is signed in. */
export function renderPage({ title, content }: Page, options: { path: string; person: string | undefined }): string {
  const { path, person } = options
  const current = (place: string) => trusted(place === path ? ' aria-current="page"' : '')
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${title} · Fabrikam Intranet</title>
<link rel="icon" href="/mark.svg" type="image/svg+xml">
<style>${trusted(style)}</style>
</head>
<body>
<a class="skip" href="#content">Skip to the content</a>
<header class="top">
<div class="wide">
<a class="brand" href="/">${trusted(mark)}Fabrikam</a>
<nav aria-label="Main">
<ul>${places.map(([place, name]) => html`<li><a href="${place}"${current(place)}>${name}</a></li>`)}</ul>
</nav>
<div class="who">${person === undefined ? signInLink : signOutForm(person)}</div>
</div>
</header>
<main id="content">
<div class="wide">
<h1>${title}</h1>
${content}
</div>
</main>
</body>
</html>
`.markup
}

const signInLink = html`<a class="button" href="/login">Sign in</a>`

function signOutForm(person: string): Markup {
  return html`<span>${person}</span>
<form method="post" action="/logout"><button class="button plain" type="submit">Sign out</button></form>`
}

/** The start, for anybody. `opened` tells whether the second factor is fresh enough for the employees now. */
export function homePage(options: { isSignedIn: boolean; opened: boolean }): Page {
  const { isSignedIn, opened } = options
  const open = html`<span class="tag good">Open to you</span>`
  return {
    title: 'Good work starts here',
    content: html`
<p class="lead">Customers and colleagues in one place. What is more sensitive asks you for more proof of who you are.</p>
<ul class="cards">
<li class="card">
<h2><a href="/customers">Customers</a></h2>
<p>Companies, open orders, and what they bought this year.</p>
${isSignedIn ? open : html`<span class="tag">Needs your password</span>`}
</li>
<li class="card">
<h2><a href="/employees">Employees</a></h2>
<p>Who works where, and what they earn.</p>
${opened ? open : html`<span class="tag strong">Needs your second factor</span>`}
</li>
</ul>`,
  }
}

/** What a password is enough for. */
export function customersPage(): Page {
  return {
    title: 'Customers',
    content: html`
<p class="lead">You see this page because you are signed in.</p>
<div class="table">
<table>
<thead><tr><th scope="col">Company</th><th scope="col" class="number">Orders</th><th scope="col" class="number">This year</th></tr></thead>
<tbody>${customers.map(
      ({ company, city, openOrders, revenueDollars }) =>
        html`<tr><th scope="row">${company}<small>${city}</small></th><td class="number">${openOrders}</td><td class="number">${dollars.format(revenueDollars)}</td></tr>`,
    )}</tbody>
</table>
</div>`,
  }
}

/** What only multi-factor authentication opens. */
export function employeesPage(options: { authTime: unknown; maxAgeSeconds: number }): Page {
  const { authTime, maxAgeSeconds } = options
  const untilSeconds = typeof authTime === 'number' ? authTime + maxAgeSeconds : undefined
  return {
    title: 'Employees',
    content: html`
<p class="lead">Salaries are on this page, so a password is not enough for it.</p>
${untilSeconds === undefined ? undefined : html`<p class="note">You gave your second factor. This page stays open until ${describeTime(untilSeconds)}, then it asks again.</p>`}
<div class="table">
<table>
<thead><tr><th scope="col">Name</th><th scope="col">Office</th><th scope="col" class="number">Salary</th></tr></thead>
<tbody>${employees.map(
      ({ name, role, office, salaryDollars }) =>
        html`<tr><th scope="row">${name}<small>${role}</small></th><td>${office}</td><td class="number">${dollars.format(salaryDollars)}</td></tr>`,
    )}</tbody>
</table>
</div>`,
  }
}

/** The claims that a step-up changes, before and after. */
export function profilePage({ claims, claimsBefore }: Session): Page {
  const names = ['sub', 'acr', 'amr', 'auth_time', 'authentication_level']
  const rows = names.map((name) => {
    const [before, now] = [describeClaim(claimsBefore, name), describeClaim(claims, name)]
    const changed = trusted(claimsBefore !== undefined && before.markup !== now.markup ? ' class="changed"' : '')
    const beforeCell = claimsBefore === undefined ? undefined : html`<td>${before}</td>`
    return html`<tr${changed}><th scope="row"><code>${breakable(name)}</code></th>${beforeCell}<td>${now}</td></tr>`
  })
  const beforeHead = claimsBefore === undefined ? undefined : html`<th scope="col">Before</th>`
  const stepUp = html`<div class="actions"><a class="button" href="/login/mfa?return_to=%2Fprofile">Give your second factor</a></div>`
  return {
    title: 'Profile',
    content: html`
<p class="lead">What your ID Token says about how you signed in. The intranet verified it once and decides by it what you may see.</p>
<div class="table">
<table>
<thead><tr><th scope="col">Claim</th>${beforeHead}<th scope="col">Now</th></tr></thead>
<tbody>${rows}</tbody>
</table>
</div>
${claimsBefore === undefined ? stepUp : undefined}`,
  }
}

/** A page that explains why something ended otherwise than planned, with the ways on: the first is the one to recommend. */
export function endingPage(
  title: string,
  text: string,
  ways: readonly (readonly [href: string, name: string])[],
): Page {
  const links = ways.map(
    ([href, name], index) => html`<a class="button${trusted(index === 0 ? '' : ' plain')}" href="${href}">${name}</a>`,
  )
  return { title, content: html`<p class="lead">${text}</p><div class="actions">${links}</div>` }
}

function describeClaim(claims: IdTokenClaims | undefined, name: string): Markup {
  const value = claims?.[name]
  if (value === undefined) return html`–`
  const json = html`<code>${breakable(JSON.stringify(value))}</code>`
  return name === 'auth_time' && typeof value === 'number' ? html`${json}<small>${describeTime(value)}</small>` : json
}

/** Text that may be broken where its parts end, for narrow screens. */
function breakable(text: string): Markup[] {
  return text.split(/(?<=[:,_])/).map((part, index) => html`${index === 0 ? undefined : trusted('<wbr>')}${part}`)
}

/** Hours and minutes in UTC: the server does not know where the reader is. */
function describeTime(seconds: number): Markup {
  const text = new Date(seconds * 1000).toISOString()
  return html`<time datetime="${text}">${text.slice(11, 16)} UTC</time>`
}
