// The status page: asks the node every two seconds with the operator key and draws what it says. Changes nothing.
// What nodes call themselves comes from strangers: it gets into the page as text alone (`make`), never as markup.
'use strict'

const POLL_MS = 2000,
  TIMEOUT_MS = 8000,
  LOST_MS = 3000,
  KEY = 'shoal-operator-key'
// What is asked, and every how many polls. Tickets are read through the root shard: seldom.
const SOURCES = { status: 1, nodes: 1, drives: 1, jobs: 1, tickets: 3, pairing: 1 }
const GRACE_SECONDS = 10 // a member that has just been seen for the first time is not news yet

const $ = (id) => document.getElementById(id)
// { key, said: {source: {value, error}}, heard, failed, begun }; a new one for each key.
let session = null

// ---- words and numbers

const count = (number, one, many) => `${number.toLocaleString('en')} ${number === 1 ? one : many || one + 's'}`

function bytes(number) {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB']
  let unit = 0
  while (number >= 1023.5 && unit < units.length - 1) {
    number /= 1024
    unit += 1
  }
  return `${number < 10 && unit ? number.toFixed(1) : Math.round(number)} ${units[unit]}`
}

function span(seconds) {
  const steps = [
    [60, 's'],
    [60, 'min'],
    [24, 'h'],
    [Infinity, 'day'],
  ]
  let number = Math.max(0, seconds)
  for (const [size, unit] of steps) {
    if (number < size) {
      const whole = Math.floor(number)
      return unit === 'day' ? count(whole, 'day') : `${whole} ${unit}`
    }
    number /= size
  }
}

// Microseconds since the epoch, in the reader's time.
const time = (micros) => new Date(micros / 1000).toLocaleString([], { dateStyle: 'medium', timeStyle: 'short' })
const short = (id) => id.slice(0, 8)
// For JSON.parse: control characters and those that turn the direction of a line would let a name rewrite its sentence.
const clean = (_, value) =>
  typeof value === 'string' ? value.replace(/[\p{Cc}\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu, '\ufffd') : value
const shorter = (text) => text.replace(/\b[0-9a-f]{32}\b/g, short)

// ---- elements

function make(tag, attributes, ...inside) {
  const element = document.createElement(tag)
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value !== undefined && value !== false) element.setAttribute(name, value === true ? '' : value)
  }
  element.append(...inside.flat().filter((one) => one !== null && one !== undefined && one !== ''))
  return element
}

const small = (...inside) => make('small', {}, ...inside)
const badge = (text, mood) => make('span', { class: `badge ${mood || ''}` }, text)
const name = (text) => make('bdi', {}, text)
const empty = () => make('span', { class: 'empty' })

// Puts `wanted` into `parent` and leaves alone what is there already: what did not change keeps its selection, and a
// screen reader hears nothing of it.
function put(parent, wanted) {
  wanted.forEach((one, at) => {
    const child = typeof one === 'string' ? document.createTextNode(one) : one
    const old = parent.childNodes[at]
    if (!old) parent.append(child)
    else if (!old.isEqualNode(child)) old.replaceWith(child)
  })
  while (parent.childNodes.length > wanted.length) parent.lastChild.remove()
}

function say(id, text) {
  const element = typeof id === 'string' ? $(id) : id
  if (element.textContent !== text) element.textContent = text
}

// `rows`: { id, cells: [[…], …] }; the first cell heads its row.
function fill(id, rows) {
  const labels = [...$(id).querySelectorAll('thead th')].map((head) => head.textContent)
  put(
    $(id).tBodies[0],
    rows.map((row) =>
      make(
        'tr',
        { role: 'row', 'data-id': row.id },
        row.cells.map((cell, at) => {
          const value = [cell].flat().filter((one) => one !== null && one !== undefined && one !== '')
          if (at === 0) return make('th', { scope: 'row', role: 'rowheader' }, value)
          // On a phone label and value are two columns: the value must be one box.
          const box = value.length ? make('div', {}, value) : empty()
          return make('td', { role: 'cell', 'data-label': labels[at] }, box)
        }),
      ),
    ),
  )
}

function figures(id, list) {
  put(
    $(id),
    list.map(([title, value, more]) => make('div', {}, make('dt', {}, title), make('dd', {}, value, more ? small(more) : null))),
  )
}

// A bar of 0 to 1. The policy forbids style attributes, not the script's own hand on an element.
function bar(role, share, label, words, mood) {
  const percent = Math.round(Math.min(1, Math.max(0, share)) * 100),
    inner = make('div')
  inner.style.width = `${percent}%`
  return make(
    'div',
    {
      class: `bar ${mood || ''}`,
      role,
      'aria-label': label,
      'aria-valuemin': 0,
      'aria-valuemax': 100,
      'aria-valuenow': percent,
      'aria-valuetext': words,
    },
    inner,
  )
}

function room(total, free) {
  if (!total) return []
  const used = Math.max(0, total - free),
    share = used / total,
    words = `${bytes(used)} of ${bytes(total)}`
  return [bar('meter', share, 'Room used', words, share > 0.95 ? 'bad' : share > 0.85 ? 'fair' : ''), small(words)]
}

// ---- is all well?

const MOODS = {
  alive: 'good',
  active: 'good',
  suspect: 'fair',
  waiting: 'fair',
  draining: 'fair',
  foreign: 'fair',
  down: 'bad',
  failing: 'bad',
  running: 'good',
  paused: 'fair',
}

const code = (text) => make('code', {}, text)

// What is wrong, worst first: [mood, sentence, what to do: strings and elements].
function problemsOf({ status, nodes, drives, jobs }) {
  const found = []
  const bad = (what, ...todo) => found.push(['bad', what, todo])
  const fair = (what, ...todo) => found.push(['fair', what, todo])
  if (status) {
    const lost = status.segments_unrecoverable
    if (lost)
      bad(
        `${count(lost, 'segment is', 'segments are')} beyond repair.`,
        'Bring the missing drives or nodes back: nothing else helps.',
      )
    const clock = status.clock
    if (clock && clock.trust !== 'proven')
      (clock.trust === 'grid' ? fair : bad)(
        clock.trust === 'grid'
          ? `No node knows the time: grid time runs on (${time(clock.time)}).`
          : 'The time of this node is not proven.',
        'Bring NTP within reach, or, where the clock is right: ',
        code('shoal clock set'),
      )
    for (const reason of status.readiness.reasons.filter((one) => !one.startsWith('time: ')))
      bad(
        `The node does not serve everything: ${reason}.`,
        'Clients get 503 until that ends; what helps stands below or in the node’s log.',
      )
  }
  for (const node of nodes || []) {
    if (node.state === 'down')
      bad(
        `Node ${node.name} is down.`,
        'Switch it on or mend its network. If it never comes back: ',
        code(`shoal node remove ${node.node}`),
      )
    else if (node.state !== 'alive' && node.since_seconds > GRACE_SECONDS)
      fair(`Node ${node.name} does not answer.`, 'If it does not come back by itself, look at its power and network.')
  }
  if (nodes && nodes.length && !nodes.some((node) => node.leads) && !(status && status.readiness.reasons.length)) {
    fair('No member leads the metadata.', 'They elect one within seconds while most of those that vote are up.')
  }
  for (const drive of drives || []) {
    const what = drive.problem ? `: ${drive.problem}` : ''
    const replace = drive.id
      ? ['Its chunks are rebuilt elsewhere. Put another in its place: ', code(`shoal drive replace ${drive.id} PATH`)]
      : []
    if (drive.state === 'failing') bad(`Drive ${drive.path} has failed${what}.`, ...replace)
    else if (drive.state === 'suspect')
      fair(`Drive ${drive.path} is missing or slow${what}.`, 'Look at its cable and mount; it comes back by itself.')
    else if (drive.state === 'foreign')
      fair(
        `Folder ${drive.path} is no drive of this grid${what}.`,
        'It is left alone. If it should be one: ',
        code('shoal drive add PATH'),
      )
    else if (drive.problem) fair(`Drive ${drive.path}${what}.`)
    if (drive.state === 'active' && drive.total_bytes && drive.free_bytes < drive.total_bytes * 0.05)
      fair(`Drive ${drive.path} is almost full.`, 'Add a drive or a board, or delete objects.')
  }
  for (const job of jobs || []) {
    if (job.state === 'failing')
      fair(`Job ${job.name} fails: ${job.last_error || 'the node’s log says why'}.`, 'It tries again by itself.')
    else if (job.state === 'paused') fair(`Job ${job.name} is paused.`, 'It goes on after ', code(`shoal job resume ${job.name}`))
  }
  if (status && status.segments_incomplete && !status.segments_unrecoverable) {
    fair(
      `${count(status.segments_incomplete, 'segment lacks', 'segments lack')} chunks.`,
      'Repair works on it; it needs enough drives in service.',
    )
  }
  return found.sort((one, other) => (other[0] === 'bad') - (one[0] === 'bad'))
}

function drawVerdict(picture, errors) {
  const found = problemsOf(picture)
  for (const [source, error] of errors) found.push(['fair', `The node could not tell its ${source}: ${error}.`, []])
  if (!picture.status && !found.length) return
  const [mood, sentence, todo] = found[0] || ['good', 'All well', []]
  $('verdict').className = `banner ${mood}`
  // The sentence that is read out holds no time and no number that runs.
  say('sentence', sentence)
  put($('todo'), todo)
  put(
    $('problems'),
    found.slice(1).map(([, what, hint]) => make('li', {}, make('strong', {}, name(what)), ' ', hint)),
  )
  document.title = mood === 'good' ? 'Shoal: all well' : `Shoal: ${sentence}`
}

// ---- the sections

// Where there is something to say of it.
function clockOf({ clock }) {
  if (!clock) return null
  if (clock.source === 'unproven') return small('time not proven')
  if (clock.source === 'grid') return small('grid time')
  return clock.apart ? small(`clock ${span(Math.abs(clock.ahead_us) / 1e6)} ${clock.ahead_us > 0 ? 'ahead' : 'behind'}`) : null
}

function drawNodes(list) {
  fill(
    'nodes',
    list.map((node) => ({
      id: node.node,
      cells: [
        [name(node.name), node.here ? small('this one') : null, small('id ', code(short(node.node)), `, number ${node.number}`)],
        [badge(node.state, MOODS[node.state]), ` for ${span(node.since_seconds)}`, small(`member since ${time(node.added)}`), clockOf(node)],
        [node.leads ? badge('leads', 'good') : null, node.votes ? badge('votes') : badge('no vote')],
        String(node.drives),
        room(node.total_bytes, node.free_bytes),
        node.addresses.map((address) => make('div', {}, address)),
      ],
    })),
  )
  $('alone').hidden = !list.length || !list.every((node) => node.addresses.every((one) => /^(127\.|\[::1\])/.test(one)))
}

function drawDrives(list, here, nodes) {
  fill(
    'drives',
    list.map((drive) => ({
      id: drive.id || drive.path,
      cells: [
        [name(drive.path), drive.id ? small('id ', code(short(drive.id))) : null],
        here ? name(here.name) : '',
        [badge(drive.state, MOODS[drive.state]), drive.locked ? badge('locked', 'fair') : null],
        drive.state === 'foreign'
          ? ''
          : [
              `read ${drive.read_score}, write ${drive.write_score}`,
              drive.sync_p95_us ? small(`sync ${(drive.sync_p95_us / 1000).toFixed(1)} ms`) : null,
            ],
        room(drive.total_bytes, drive.free_bytes),
        [
          drive.problem || '',
          drive.corruptions
            ? make('div', {}, `${count(drive.corruptions, 'damaged piece')} found since start; repair mends them`)
            : null,
        ],
      ],
    })),
  )
  const others = (nodes || []).filter((node) => !node.here && node.drives)
  say(
    'drives-note',
    others.length
      ? `Drives of ${here ? here.name : 'this node'}. The others have theirs on their own pages: ${others.map((node) => `${node.name} (${node.drives})`).join(', ')}.`
      : '',
  )
}

function drawProtection(status) {
  const at = status.promise.indexOf(': ')
  const words = at < 0 ? status.promise : status.promise.slice(at + 2)
  put($('promise'), [name(words.charAt(0).toUpperCase() + words.slice(1) + '.')])
  figures('protection', [
    ['Profile', status.profile, at < 0 ? '' : `now ${status.promise.slice(0, at)}`],
    [
      'Segments incomplete',
      status.segments_incomplete.toLocaleString('en'),
      status.segments_incomplete ? 'repair works on them' : 'every chunk is where it should be',
    ],
    [
      'Beyond repair',
      status.segments_unrecoverable.toLocaleString('en'),
      status.segments_unrecoverable ? 'lost unless a drive comes back' : 'nothing is lost',
    ],
  ])
}

function drawJobs(list) {
  fill(
    'jobs',
    list.map((job) => {
      const progress = []
      if (typeof job.pass === 'number') {
        const percent = `${Math.floor(job.pass * 100)} %`
        progress.push(bar('progressbar', job.pass, job.name, percent))
        progress.push(small(job.eta_seconds === null ? percent : `${percent}, about ${span(job.eta_seconds)} left`))
      } else if (job.eta_seconds !== null) progress.push(small(`about ${span(job.eta_seconds)} left`))
      const numbers = [
        job.waiting ? `${job.waiting.toLocaleString('en')} waiting` : '',
        job.done ? `${job.done.toLocaleString('en')} done` : '',
        job.failed ? `${job.failed.toLocaleString('en')} failed` : '',
        job.items_per_second >= 0.1 ? `${job.items_per_second.toFixed(1)} a second` : '',
      ]
      if (numbers.some(Boolean)) progress.push(small(numbers.filter(Boolean).join(', ')))
      return {
        id: job.name,
        cells: [
          [job.name, small(job.purpose)],
          badge(job.state, MOODS[job.state]),
          progress,
          [shorter(job.detail), job.last_error ? small(`last failure: ${job.last_error}`) : null],
        ],
      }
    }),
  )
}

function drawTickets(list) {
  const open = list.filter((ticket) => ticket.state === 'open')
  $('tickets').hidden = !open.length
  $('no-tickets').hidden = open.length > 0
  fill(
    'tickets',
    open.map((ticket) => ({
      id: ticket.id,
      cells: [code(short(ticket.id)), String(ticket.uses_left), count(ticket.joined.length, 'node'), time(ticket.expires)],
    })),
  )
}

function drawPairing(waiting) {
  $('pairing').hidden = !waiting
  if (!waiting) return
  put($('pairing'), [
    'Waiting to be let in: ',
    name(waiting.name),
    ', which must show the code ',
    make('strong', {}, waiting.code || '…'),
    '. Where it does: ',
    code(`shoal pair confirm ${waiting.node} ${waiting.code || 'CODE'}`),
  ])
}

function drawFigures(status, nodes) {
  const alive = (nodes || []).filter((node) => node.state === 'alive').length
  const used = status.total_bytes - status.free_bytes
  figures('figures', [
    ['Nodes', nodes ? `${alive} of ${nodes.length}` : '…', 'alive'],
    ['Drives', String(status.drives_in_service), 'in service'],
    [
      'Room used',
      status.total_bytes ? `${Math.round((used / status.total_bytes) * 100)} %` : 'none',
      `${bytes(status.free_bytes)} of ${bytes(status.total_bytes)} free`,
    ],
    ['S3', make('span', { class: 'url' }, status.s3[0] || '…'), `region ${status.region}`],
  ])
}

// ---- asking and drawing

function draw() {
  const { said, heard, failed } = session
  const picture = {},
    errors = []
  for (const [source, { value, error }] of Object.entries(said)) {
    if (value) picture[source] = Array.isArray(value[source]) ? value[source] : value
    if (error) errors.push([source, error])
  }
  const lost = failed !== null && Date.now() - Math.max(heard, session.begun) > LOST_MS
  $('grid').classList.toggle('lost', lost)
  if (lost) {
    document.title = 'Shoal: no connection'
    const since = heard ? ` What is below was true ${new Date(heard).toLocaleTimeString()}.` : ''
    say(
      'lost',
      `No connection to ${location.host}.${since} Is the node up? This page goes on asking${(picture.nodes || []).length > 1 ? '; any other member shows the grid as well' : ''}.`,
    )
  }
  $('lost').hidden = !lost
  if (lost) return
  const { status, nodes, drives, jobs, tickets, pairing } = picture
  const here = (nodes || []).find((node) => node.here)
  drawVerdict(picture, errors)
  if (nodes) drawNodes(nodes)
  if (drives) drawDrives(drives, here, nodes)
  if (jobs) drawJobs(jobs)
  if (tickets) drawTickets(tickets)
  if (pairing) drawPairing(pairing.waiting)
  if (!status) return
  drawFigures(status, nodes)
  drawProtection(status)
  // Those of drives stand with their drives.
  const paths = (drives || []).map((drive) => `${drive.path}: `)
  const notes = status.warnings.filter((warning) => !paths.some((path) => warning.startsWith(path)))
  $('notes-card').hidden = !notes.length
  put(
    $('notes'),
    notes.map((note) => make('li', {}, name(note))),
  )
  put($('where'), ['grid ', code(short(status.grid)), here ? ' seen from ' : '', here ? name(here.name) : ''])
  say('foot', `Shoal ${status.version} · up for ${span(status.uptime_seconds)} · asked every ${POLL_MS / 1000} seconds`)
}

// One question. What it says is kept; a refused key ends the session.
async function ask(mine, source) {
  let reply
  const one = (mine.said[source] ||= { value: null, error: null })
  try {
    reply = await fetch(`/v1/${source}`, {
      headers: { Authorization: `Bearer ${mine.key}` },
      cache: 'no-store',
      credentials: 'omit',
      redirect: 'error',
      signal: AbortSignal.timeout(TIMEOUT_MS),
    })
    const value = JSON.parse(await reply.text(), clean)
    if (mine !== session) return
    if (reply.status === 401) return forget('This key is not accepted. Is it the operator key of this grid, and the newest one?')
    if (reply.ok) Object.assign(one, { value, error: null })
    else one.error = String(value.message || reply.status)
    Object.assign(mine, { heard: Date.now(), failed: null })
  } catch (error) {
    if (mine !== session) return
    // An answer that is no JSON is an answer of somebody else in between.
    if (reply && error instanceof SyntaxError) one.error = `an answer of status ${reply.status} that is not Shoal’s`
    else {
      if (error.name === 'TimeoutError') one.error = 'no answer in time'
      mine.failed = error
      if (!mine.heard) {
        show('door')
        say('key-message', 'The node does not answer. This page goes on asking.')
      }
    }
  }
  if (mine.heard && $('grid').hidden) show('grid')
  draw()
}

async function follow(mine, source) {
  while (mine === session) {
    // A page that nobody looks at asks nothing.
    if (!document.hidden) await ask(mine, source)
    await new Promise((resolve) => setTimeout(resolve, POLL_MS * SOURCES[source]))
  }
}

function show(id) {
  for (const one of ['door', 'grid']) $(one).hidden = one !== id
  $('forget').hidden = id !== 'grid'
}

async function begin(key) {
  const mine = { key, said: {}, heard: 0, failed: null, begun: Date.now() }
  session = mine
  sessionStorage.setItem(KEY, key)
  // One first: a wrong key is refused once, not five times.
  await ask(mine, 'status')
  if (mine === session) for (const source of Object.keys(SOURCES)) follow(mine, source)
}

function forget(message) {
  session = null
  sessionStorage.removeItem(KEY)
  // No trace of the grid stays in a page without a key.
  for (const id of ['nodes', 'drives', 'jobs', 'tickets']) fill(id, [])
  for (const id of ['where', 'todo', 'problems', 'figures', 'promise', 'protection', 'notes', 'foot', 'drives-note'])
    put($(id), [])
  say('sentence', 'Asking the node …')
  $('verdict').className = 'banner'
  document.title = 'Shoal'
  show('door')
  say('key-message', message || '')
  $('key').value = ''
  $('key').focus()
}

$('key-form').addEventListener('submit', (event) => {
  event.preventDefault()
  const key = $('key').value.trim()
  say('key-message', '')
  if (!/^[\x21-\x7e]+$/.test(key)) return forget('That is no operator key: it begins with shoal-operator- and has no blanks.')
  begin(key)
})
$('forget').addEventListener('click', () => forget(''))
document.addEventListener('visibilitychange', () => {
  const mine = session
  if (mine && !document.hidden) for (const source of Object.keys(SOURCES)) ask(mine, source)
})

say('remote-ticket', `shoal ticket create --admin ${location.origin} --uses 1 --expires 24h`)
$('plain').hidden = location.protocol === 'https:' || ['localhost', '127.0.0.1', '[::1]'].includes(location.hostname)
const kept = sessionStorage.getItem(KEY)
if (kept) begin(kept)
else show('door')
