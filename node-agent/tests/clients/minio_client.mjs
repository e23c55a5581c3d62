// Drives the server as users of minio-js do; the first thing that is wrong ends it with its stack.
import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { createRequire } from 'node:module'
import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'

const require = createRequire(process.env.SHOAL_NODE_MODULES + '/')
const Minio = require('minio')
const url = new URL(process.env.AWS_ENDPOINT_URL)
const client = new Minio.Client({
  endPoint: url.hostname,
  port: Number(url.port),
  useSSL: url.protocol === 'https:',
  accessKey: process.env.AWS_ACCESS_KEY_ID,
  secretKey: process.env.AWS_SECRET_ACCESS_KEY,
  pathStyle: true,
})
const bucket = 'minio-js-bucket'

const list = async (...args) => {
  const found = []
  for await (const entry of client.listObjectsV2(...args)) found.push(entry.name ?? entry.prefix)
  return found
}
const refusal = async (promise) => {
  try {
    await promise
  } catch (error) {
    return error.code
  }
  return 'no error'
}

assert.equal(await client.bucketExists(bucket), false)
await client.makeBucket(bucket, 'us-east-1')
assert.equal(await client.bucketExists(bucket), true)
assert.ok((await client.listBuckets()).some((one) => one.name === bucket))
assert.equal(await refusal(client.makeBucket(bucket, 'us-east-1')), 'BucketAlreadyOwnedByYou')

// Small objects, odd names, metadata.
const names = ['plain', 'with blank', 'plus+percent%20', 'ünï/🐟', 'dir/inner', "quote'\"&<>"]
for (const name of names) {
  await client.putObject(bucket, name, Buffer.from(name), undefined, { 'x-amz-meta-colour': 'blue', 'Content-Type': 'text/x' })
  assert.equal((await buffer(await client.getObject(bucket, name))).toString(), name)
  const stat = await client.statObject(bucket, name)
  assert.equal(stat.size, Buffer.byteLength(name))
  assert.equal(stat.etag, createHash('md5').update(name).digest('hex'))
  assert.equal(stat.metaData.colour, 'blue')
  assert.equal(stat.metaData['content-type'], 'text/x')
}
const byBytes = (a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b))
assert.deepEqual((await list(bucket, '', true)).sort(byBytes), [...names].sort(byBytes))
assert.deepEqual((await list(bucket, 'dir/', true)), ['dir/inner'])
assert.ok((await list(bucket, '', false)).includes('dir/'))
assert.deepEqual(await list(bucket, '', true, 'with blank'), ['ünï/🐟'])

// A large stream of unknown length goes in parts; ranges come back.
const body = randomBytes(70_000_000)
await client.putObject(bucket, 'large', Readable.from((function* () {
  for (let at = 0; at < body.length; at += 300_000) yield body.subarray(at, at + 300_000)
})()))
assert.ok((await buffer(await client.getObject(bucket, 'large'))).equals(body))
assert.ok((await buffer(await client.getPartialObject(bucket, 'large', 60_000_000, 999))).equals(body.subarray(60_000_000, 60_000_999)))
assert.equal(await refusal(client.getPartialObject(bucket, 'large', 70_000_000, 1)), 'InvalidRange')

// Copies, with and without conditions.
await client.copyObject(bucket, 'copied', `/${bucket}/plain`)
assert.equal((await buffer(await client.getObject(bucket, 'copied'))).toString(), 'plain')
const conditions = new Minio.CopyConditions()
conditions.setMatchETag('0123')
assert.equal(await refusal(client.copyObject(bucket, 'copied', `/${bucket}/plain`, conditions)), 'PreconditionFailed')

// Presigned addresses.
const putUrl = await client.presignedPutObject(bucket, 'presigned ü', 60)
assert.equal((await fetch(putUrl, { method: 'PUT', body: 'by address' })).status, 200)
const getUrl = await client.presignedGetObject(bucket, 'presigned ü', 60, { 'response-content-type': 'text/y' })
const answer = await fetch(getUrl)
assert.equal(answer.headers.get('content-type'), 'text/y')
assert.equal(await answer.text(), 'by address')

// Open uploads are found and removed.
const upload = await client.initiateNewMultipartUpload(bucket, 'unfinished', {})
assert.equal(await client.findUploadId(bucket, 'unfinished'), upload)
await client.removeIncompleteUpload(bucket, 'unfinished')
assert.equal(await client.findUploadId(bucket, 'unfinished'), undefined)

assert.equal(await refusal(client.getObject(bucket, 'absent')), 'NoSuchKey')
assert.equal(await refusal(client.removeBucket(bucket)), 'BucketNotEmpty')
await client.removeObject(bucket, 'plain')
await client.removeObjects(bucket, await list(bucket, '', true))
assert.deepEqual(await list(bucket, '', true), [])
await client.removeBucket(bucket)
assert.equal(await client.bucketExists(bucket), false)
console.log('every step of minio-js passed')
