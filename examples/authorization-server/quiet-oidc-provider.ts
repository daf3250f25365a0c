/**
 * Takes oidc-provider's notices off the console until the function it returns is called; every other line passes. It
 * prints that Node 20 is old when it is imported, and that its in-memory adapter is for demonstrations when a provider is
 * built. Both are true, and this server is for demonstrations; but they would stand in the middle of the demo's story.
 */
function silenceNotices(): () => void {
  const { info, warn } = console
  const unlessNotice =
    (print: typeof info): typeof info =>
    (...line) => {
      if (!String(line[0]).includes('oidc-provider ')) print(...line)
    }
  console.info = unlessNotice(info)
  console.warn = unlessNotice(warn)
  return () => {
    console.info = info
    console.warn = warn
  }
}

// A static import would print before any of our code runs, so the module is loaded here, once, for all the others.
const restoreConsole = silenceNotices()
const { Provider, interactionPolicy, errors } = await import('oidc-provider')
restoreConsole()

export { errors, interactionPolicy }

/** Builds a provider. Throws a TypeError when the configuration is wrong. */
export function buildProvider(
  ...[issuer, configuration]: ConstructorParameters<typeof Provider>
): InstanceType<typeof Provider> {
  const restore = silenceNotices()
  try {
    return new Provider(issuer, configuration)
  } finally {
    restore()
  }
}
