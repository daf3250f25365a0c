import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import type { Test } from 'tap'
import { parse } from 'yaml'
import { z } from 'zod'
import { inPackage } from '../../examples/demo/settings.js'

const serviceSchema = z.looseObject({
  image: z.string().optional(),
  build: z.strictObject({ context: z.literal('.'), target: z.string() }).optional(),
  command: z.array(z.string()).default([]),
  environment: z.record(z.string(), z.string()).default({}),
  network_mode: z.string().optional(),
  ports: z.array(z.string()).default([]),
  volumes: z.array(z.string()).default([]),
  healthcheck: z.looseObject({ test: z.array(z.string()) }).optional(),
})

const fileSchema = z.looseObject({
  services: z.record(z.string(), serviceSchema),
  volumes: z.record(z.string(), z.null()),
})

/** A service of compose.yaml, as far as tests look at it. */
export type ComposeService = z.infer<typeof serviceSchema>

/** Reads compose.yaml. Each `${NAME:-value}` stands for its value, whatever this machine's environment says. */
export function readComposeFile(): z.infer<typeof fileSchema> {
  const text = readFileSync(inPackage('compose.yaml'), 'utf8').replaceAll(/\$\{[A-Z_]+:-([\w-]+)\}/g, '$1')
  if (text.includes('$')) throw new Error('compose.yaml has a variable without a default')
  return fileSchema.parse(parse(text, { merge: true }))
}

/** A stage of the Dockerfile: its instructions in order, each with the rest of its line. */
export type Stage = readonly { readonly instruction: string; readonly rest: string }[]

/** Reads the Dockerfile into its stages, by name. */
export function readDockerfile(): Map<string, Stage> {
  const stages = new Map<string, { instruction: string; rest: string }[]>()
  let stage: { instruction: string; rest: string }[] = []
  for (const line of readFileSync(inPackage('Dockerfile'), 'utf8').split('\n')) {
    const [, instruction, rest] = /^([A-Z]+) (.*)$/.exec(line) ?? []
    if (instruction === undefined || rest === undefined) continue
    if (instruction === 'FROM') {
      stage = []
      stages.set(rest.split(' AS ')[1] as string, stage)
    }
    stage.push({ instruction, rest })
  }
  return stages
}

/** The last CMD of a stage. */
export function commandOf(stage: Stage): string[] {
  return JSON.parse(stage.findLast(({ instruction }) => instruction === 'CMD')?.rest ?? '[]')
}

/**
 * Lays out a folder with what a stage of the Dockerfile copies and what a service mounts, and nothing else, from files that
 * were built here. Of `node_modules` it has links to the production packages. It is removed at the end of the test.
 */
export function layOutImage(t: Test, stage: Stage, mounts: readonly string[] = []): string {
  const folder = mkdtempSync(join(tmpdir(), 'stepgate-image-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  for (const { rest } of stage.filter(({ instruction }) => instruction === 'COPY')) {
    const words = rest.split(' ').filter((word) => !word.startsWith('--from='))
    const source = (words[0] as string).replace('/app/', '')
    const target = words[1] === './' ? basename(source) : (words[1] as string)
    if (source === 'node_modules') linkProductionPackages(join(folder, target))
    else cpSync(inPackage(source), join(folder, target), { recursive: true })
  }
  for (const [source = '', target = ''] of mounts.map((mount) => mount.split(':'))) {
    const path = join(folder, target.replace('/app/', ''))
    mkdirSync(dirname(path), { recursive: true })
    symlinkSync(inPackage(source), path)
  }
  return folder
}

function linkProductionPackages(folder: string): void {
  const { packages } = JSON.parse(readFileSync(inPackage('package-lock.json'), 'utf8')) as {
    packages: Record<string, { dev?: boolean }>
  }
  for (const [path, { dev }] of Object.entries(packages)) {
    const name = /^node_modules\/((?:@[^/]+\/)?[^/]+)$/.exec(path)?.[1]
    if (name === undefined || dev === true || !existsSync(inPackage(path))) continue
    mkdirSync(dirname(join(folder, name)), { recursive: true })
    symlinkSync(inPackage(path), join(folder, name))
  }
}
