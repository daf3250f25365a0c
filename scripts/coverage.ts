/** What istanbul's json-summary says of one file. */
export type FileCoverage = Record<'lines' | 'branches' | 'functions' | 'statements', { pct: number }>

/**
 * Names every source file that is not wholly covered, one line each. A file that no test loads is in no report, so the
 * list of sources is compared as well.
 */
export function findUncovered(summary: Readonly<Record<string, FileCoverage>>, sources: readonly string[]): string[] {
  return sources.flatMap((source) => {
    const coverage = Object.entries(summary).find(([path]) => path.endsWith(`/${source}`))?.[1]
    if (coverage === undefined) return [`${source}: loaded by no test`]
    const gaps = (['lines', 'branches', 'functions', 'statements'] as const).filter((kind) => coverage[kind].pct < 100)
    return gaps.length === 0 ? [] : [`${source}: ${gaps.map((kind) => `${kind} ${coverage[kind].pct} %`).join(', ')}`]
  })
}
