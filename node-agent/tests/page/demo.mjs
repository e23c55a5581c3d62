// A demo grid as a user starts one, and the browser to look at it with.

import { spawn } from 'node:child_process'
import { existsSync, readFileSync, rmSync } from 'node:fs'
import { mkdtemp, open } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'

const { chromium } = createRequire(join(process.env.SHOAL_PAGE_TOOLS, 'package.json'))('playwright-core')

const READY_MS_MAX = 60_000
// What a test needs to run as root on a small machine, and to talk to nobody but the demo.
const BROWSER_OPTIONS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
]

export const SHOAL = process.env.SHOAL_BIN

export class Demo {
  // `shoal demo` on free ports; its data is gone at the end.
  static async start(nodes) {
    const folder = await mkdtemp(join(tmpdir(), 'shoal-page-'))
    const logPath = join(folder, 'log')
    const log = await open(logPath, 'a')
    const options = ['demo', '--nodes', String(nodes), '--json', '--ephemeral', '--s3-port', '0', '--admin-port', '0']
    const process = spawn(SHOAL, options, { stdio: ['ignore', 'pipe', log.fd] })
    const ended = new Promise((resolve) => process.once('exit', resolve))
    const timer = setTimeout(() => process.kill('SIGKILL'), READY_MS_MAX)
    const line = await Promise.race([
      new Promise((resolve) => createInterface({ input: process.stdout }).once('line', resolve)),
      ended.then(() => null),
    ])
    clearTimeout(timer)
    await log.close()
    const demo = Object.assign(new Demo(), { folder, process, ended })
    if (line === null) throw new Error(`the demo did not start:\n${readFileSync(logPath, 'utf8').slice(-3000)}`)
    return Object.assign(demo, JSON.parse(line))
  }

  // What the operator's door answers.
  async ask(path, order) {
    const headers = { Authorization: `Bearer ${this.admin_key}` }
    const body = order && JSON.stringify(order)
    const reply = await fetch(this.admin + path, { method: order ? 'POST' : 'GET', headers, body })
    const value = await reply.json()
    if (!reply.ok) throw new Error(`${path}: ${reply.status} ${value.message}`)
    return value
  }

  // As a power cut ends it.
  async kill() {
    this.process.kill('SIGKILL')
    await this.ended
  }

  async stop() {
    this.process.kill('SIGTERM')
    await this.ended
    for (const folder of [this.dir, this.folder]) if (folder) rmSync(folder, { recursive: true, force: true })
  }
}

export function launch() {
  const names = ['chromium', 'chromium-browser', 'google-chrome'].map((name) => `/usr/bin/${name}`)
  const executablePath = process.env.SHOAL_CHROMIUM || names.find((name) => existsSync(name))
  if (!executablePath) throw new Error('chromium is missing: `SHOAL_SETUP=test .ci/setup true` installs it')
  return chromium.launch({ executablePath, args: BROWSER_OPTIONS })
}
