// The status page, as a person meets it: the door, a wrong key, the right one, a grid in trouble, a node that is gone.

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { promisify } from 'node:util'

import { Demo, SHOAL, launch } from './demo.mjs'

const PICTURES = 'target/page'
const PHONE = { width: 390, height: 844 }
const DESK = { width: 1200, height: 900 }
// What a browser says by itself of an answer 401 and of a node that is gone; everything else on its console is a mistake.
const REFUSED = /^Failed to load resource: the server responded with a status of 401/
const GONE = /^Failed to load resource: net::ERR_/
const WAIT_MS_MAX = 60_000

let browser
before(async () => (browser = await launch()))
after(() => browser.close())

// A page at the admin port, with all that its console says.
async function openPage(demo, { admin = demo.admin, ...options } = {}) {
  const context = await browser.newContext({ viewport: DESK, ...options })
  const page = await context.newPage()
  page.setDefaultTimeout(WAIT_MS_MAX)
  page.said = []
  page.on('console', (message) => message.type() !== 'log' && page.said.push(message.text()))
  page.on('pageerror', (error) => page.said.push(`exception: ${error.stack}`))
  page.strangers = []
  page.on('request', (request) => request.url().startsWith(admin) || page.strangers.push(request.url()))
  page.answer = await page.goto(`${admin}/`)
  return page
}

async function enter(page, key) {
  await page.getByLabel('Key', { exact: true }).fill(key)
  await page.keyboard.press('Enter')
}

const sentence = (page) => page.getByRole('status')
const ids = (page, table) => page.locator(`#${table} tbody tr`).evaluateAll((rows) => rows.map((row) => row.dataset.id))
const until = (page, words) =>
  page.waitForFunction((text) => document.getElementById('sentence').textContent.includes(text), words)

async function picture(page, name) {
  await page.screenshot({ path: `${PICTURES}/${name}.png`, fullPage: true })
}

// Nothing to scroll to the right, on a phone or at a desk.
async function fits(page, name) {
  for (const [size, label] of [
    [PHONE, 'phone'],
    [DESK, 'desk'],
  ]) {
    await page.setViewportSize(size)
    const width = await page.evaluate(() => Math.max(document.documentElement.scrollWidth, document.body.scrollWidth))
    assert.ok(width <= size.width, `${name} is ${width} wide at ${size.width}`)
    await picture(page, `${name}-${label}`)
  }
}

function quiet(page, ...allowed) {
  const rest = page.said.filter((text) => !allowed.some((pattern) => pattern.test(text)))
  assert.deepEqual(rest, [], 'the console is not quiet')
  assert.deepEqual(page.strangers, [], 'the page asked somebody else')
}

test('one node: the door, a wrong key, the right one, forgetting it, and a node that is gone', async () => {
  const demo = await Demo.start(1)
  try {
    const page = await openPage(demo)
    assert.match(page.answer.headers()['content-security-policy'], /default-src 'none'/)
    quiet(page)

    await enter(page, 'shoal-operator-wrong')
    await page.getByText('This key is not accepted').waitFor()
    assert.equal(await page.locator('#grid').isVisible(), false)
    assert.equal(await page.evaluate(() => sessionStorage.length), 0, 'a refused key was kept')
    await fits(page, 'refused')
    await enter(page, 'schlüssel')
    await page.getByText('That is no operator key').waitFor()

    await enter(page, demo.admin_key)
    await page.locator('#drives tbody tr').first().waitFor()
    const { nodes } = await demo.ask('/v1/nodes')
    const { drives } = await demo.ask('/v1/drives')
    assert.equal(nodes.length, 1)
    assert.deepEqual(
      await ids(page, 'nodes'),
      nodes.map((node) => node.node),
    )
    assert.deepEqual(
      await ids(page, 'drives'),
      drives.map((drive) => drive.id),
    )
    assert.notEqual(await sentence(page).textContent(), 'Asking the node …')
    assert.equal(await page.getByRole('row', { name: drives[0].path }).count(), 1)
    const { jobs } = await demo.ask('/v1/jobs')
    assert.deepEqual(
      await ids(page, 'jobs'),
      jobs.map((job) => job.name),
    )
    assert.equal(await page.evaluate(() => localStorage.length), 0)
    await fits(page, 'one-node')

    await page.reload()
    await page.locator('#nodes tbody tr').waitFor()
    await page.getByRole('button', { name: 'Forget key' }).click()
    await page.getByLabel('Key', { exact: true }).waitFor()
    assert.equal(await page.evaluate(() => sessionStorage.length), 0)
    assert.equal((await page.content()).includes(drives[0].path), false, 'the page still holds what it showed')

    await enter(page, demo.admin_key)
    await page.locator('#nodes tbody tr').waitFor()
    quiet(page, REFUSED)
    assert.equal(page.said.length, 1, 'one wrong key, one refusal')

    await demo.kill()
    await page.getByText('No connection to').waitFor()
    assert.equal(await page.locator('#nodes tbody tr').count(), 1, 'the last picture stays')
    const opacity = await page.locator('#picture').evaluate((element) => Number(getComputedStyle(element).opacity))
    assert.ok(opacity < 1, 'the last picture is not greyed out')
    await fits(page, 'disconnected')
    quiet(page, REFUSED, GONE)
  } finally {
    for (const context of browser.contexts()) await context.close()
    await demo.stop()
  }
})

test("three nodes: every member shows the grid; a stranger's name stays text; a lost node is named", async () => {
  const demo = await Demo.start(3)
  try {
    const page = await openPage(demo)
    await enter(page, demo.admin_key)
    const { nodes } = await demo.ask('/v1/nodes')
    assert.equal(nodes.length, 3)
    await page.waitForFunction(() => document.querySelectorAll('#nodes tbody tr').length === 3)
    assert.deepEqual(
      await ids(page, 'nodes'),
      nodes.map((node) => node.node),
    )
    await page.waitForFunction(() => document.querySelectorAll('#nodes .badge.good').length >= 4) // three alive, one leads
    await fits(page, 'three-nodes')

    const other = await openPage(demo, { admin: demo.admins[1], colorScheme: 'dark' })
    await enter(other, demo.admin_key)
    await other.waitForFunction(() => document.querySelectorAll('#nodes tbody tr').length === 3)
    assert.deepEqual(
      await ids(other, 'nodes'),
      nodes.map((node) => node.node),
    )
    const here = await other.locator('#nodes tbody tr', { hasText: 'this one' }).getAttribute('data-id')
    assert.notEqual(here, nodes.find((node) => node.here).node, 'another member says that it is the first')
    await picture(other, 'three-nodes-dark')

    // A board joins by the page's own instructions; it calls itself what would be markup.
    const ticket = await demo.ask('/v1/tickets', { uses: 2, valid_seconds: 3600, drives: 'image-data' })
    await page.locator(`#tickets tr[data-id="${ticket.id}"]`).waitFor()
    assert.equal((await page.content()).includes(ticket.ticket), false)
    const drive = join(demo.folder, 'drive')
    await mkdir(drive)
    await writeFile(join(demo.folder, 'ticket'), ticket.ticket, { mode: 0o600 })
    const hostile = `<img src=x onerror="document.title='owned'">\u202e`
    await promisify(execFile)(SHOAL, [
      'join',
      '--drive',
      drive,
      '--ticket-file',
      join(demo.folder, 'ticket'),
      '--name',
      hostile,
      '--config',
      join(demo.folder, 'shoal.toml'),
      '--same-file-system-ok',
      '--json',
    ])
    await page.waitForFunction(() => document.querySelectorAll('#nodes tbody tr').length === 4)
    const shown = await page.locator('#nodes tbody tr').nth(3).locator('bdi').textContent()
    assert.equal(shown, hostile.replace('\u202e', '\ufffd'))
    assert.equal(await page.locator('main img').count(), 0, 'a name became markup')
    await page.locator(`#tickets tr[data-id="${ticket.id}"]`, { hasText: '1 node' }).waitFor()

    process.kill(demo.pids[2], 'SIGKILL')
    const lost = nodes.find((node) => !node.here && node.number === 3)
    await page
      .waitForFunction((id) => document.querySelector(`#nodes tr[data-id="${id}"] .badge.bad`)?.textContent === 'down', lost.node)
      .catch(async (error) => assert.fail(`${error} ${JSON.stringify(await demo.ask('/v1/nodes'))}`))
    await until(page, `Node ${lost.name} is down.`)
    assert.equal(await page.locator('#verdict code', { hasText: `shoal node remove ${lost.node}` }).count(), 1)
    await fits(page, 'lost-node')
    quiet(page)
    quiet(other)
  } finally {
    for (const context of browser.contexts()) await context.close()
    await demo.stop()
  }
})

// Troubles that are slow or dangerous to make for real: the node's true answers, changed on their way.
const TROUBLES = [
  ['status', (it) => (it.segments_unrecoverable = 2), '2 segments are beyond repair.', 'Bring the missing drives'],
  ['status', (it) => (it.segments_incomplete = 1), '1 segment lacks chunks.', 'Repair works on it'],
  [
    'status',
    (it) => (it.readiness = { ready: false, reasons: ['writes: no drive'] }),
    'does not serve everything: writes: no drive.',
    '503',
  ],
  ['status', (it) => (it.clock.trust = 'unproven'), 'The time of this node is not proven.', 'shoal clock set'],
  ['status', (it) => (it.clock.trust = 'grid'), 'grid time runs on', 'shoal clock set'],
  [
    'drives',
    (it) => Object.assign(it.drives[1], { state: 'failing', problem: 'a sync failed' }),
    'has failed: a sync failed.',
    'shoal drive replace',
  ],
  ['drives', (it) => (it.drives[1].state = 'suspect'), 'is missing or slow.', 'cable'],
  ['drives', (it) => Object.assign(it.drives[1], { id: null, state: 'foreign' }), 'is no drive of this grid.', 'left alone'],
  ['drives', (it) => (it.drives[1].free_bytes = 0), 'is almost full.', 'Add a drive'],
  ['nodes', (it) => Object.assign(it.nodes[0], { state: 'suspect', since_seconds: 90 }), 'does not answer.', 'power and network'],
  ['nodes', (it) => (it.nodes[0].leads = false), 'No member leads the metadata.', 'elect'],
  ['jobs', (it) => Object.assign(it.jobs[0], { state: 'failing', last_error: 'no room' }), 'fails: no room.', 'tries again'],
  ['jobs', (it) => (it.jobs[0].state = 'paused'), 'is paused.', 'shoal job resume'],
]

test('what is wrong is said, with what to do', async () => {
  const demo = await Demo.start(1)
  try {
    const page = await openPage(demo)
    const changes = {}
    for (const source of ['status', 'nodes', 'drives', 'jobs', 'tickets']) {
      await page.route(`**/v1/${source}`, async (route) => {
        if (changes.refused === source)
          return route.fulfill({ status: 503, json: { code: 'Unavailable', message: 'no majority' } })
        const value = await (await route.fetch()).json()
        // The machine's own disk may be full: that is not what is tested here.
        for (const drive of value.drives || []) drive.free_bytes = drive.total_bytes / 2
        changes[source]?.(value)
        return route.fulfill({ json: value })
      })
    }
    await enter(page, demo.admin_key)
    await page.locator('#jobs tbody tr').first().waitFor()
    await page.waitForFunction(() => document.getElementById('sentence').textContent === 'All well')
    assert.match(await page.title(), /all well/)

    for (const [source, change, what, todo] of TROUBLES) {
      changes[source] = change
      await page.evaluate(() => document.dispatchEvent(new Event('visibilitychange'))) // asks at once
      await until(page, what)
      assert.ok(
        (await page.locator('#todo').textContent()).includes(todo),
        `${what} ${await page.locator('#todo').textContent()}`,
      )
      assert.equal(await page.locator('#verdict.good').count(), 0)
      changes[source] = undefined
    }
    // Several at once: the worst is the sentence, the others stand below it.
    changes.jobs = (it) => (it.jobs[0].state = 'paused')
    changes.status = (it) => (it.segments_unrecoverable = 1)
    await page.locator('#problems li', { hasText: 'is paused.' }).waitFor()
    await until(page, '1 segment is beyond repair.')
    await fits(page, 'troubles')

    changes.status = undefined
    changes.jobs = (it) => Object.assign(it.jobs[0], { state: 'running', pass: 0.425, eta_seconds: 312, waiting: 1234 })
    const bar = page.getByRole('progressbar')
    await bar.waitFor()
    assert.equal(await bar.getAttribute('aria-valuenow'), '43')
    assert.match(await page.locator('#jobs tbody tr').first().textContent(), /42 %, about 5 min left.*1,234 waiting/)

    changes.refused = 'tickets'
    await until(page, 'could not tell its tickets: no majority.')
    assert.ok((await page.locator('#nodes tbody tr').count()) === 1, 'the rest is shown all the same')
    quiet(page, /status of 503/)
    await page.unrouteAll({ behavior: 'wait' })
  } finally {
    for (const context of browser.contexts()) await context.close()
    await demo.stop()
  }
})
