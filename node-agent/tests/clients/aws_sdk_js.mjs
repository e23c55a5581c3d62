// The AWS SDK for JavaScript, version 3, with the defaults of its makers: CRC32 of every body, trailers behind streams,
// presigned requests whose headers travel in the query, paginators, waiters, managed uploads.
import { strict as assert } from 'node:assert'
import { createHash, randomBytes } from 'node:crypto'
import { createRequire } from 'node:module'
import { Readable } from 'node:stream'

const require = createRequire(`${process.env.SHOAL_NODE_MODULES}/`)
const s3sdk = require('@aws-sdk/client-s3')
const { Upload } = require('@aws-sdk/lib-storage')
const { getSignedUrl } = require('@aws-sdk/s3-request-presigner')

const client = new s3sdk.S3Client({ forcePathStyle: true, maxAttempts: 1, endpoint: process.env.AWS_ENDPOINT_URL })
const send = (name, input) => client.send(new s3sdk[`${name}Command`](input))
const bytes = async (answer) => Buffer.from(await answer.Body.transformToByteArray())
const refused = async (name, input, code) => {
  const error = await send(name, input).then(() => assert.fail(`${name} must be refused`), (error) => error)
  assert.equal(error.name, code, error)
  return error
}

const Bucket = 'sdk-js'
const body = randomBytes(300_000)
const crc = /^[A-Za-z0-9+/]{6}==$/

const steps = {
  async 'buckets and a waiter'() {
    await send('CreateBucket', { Bucket })
    await s3sdk.waitUntilBucketExists({ client, maxWaitTime: 10 }, { Bucket })
    const { Buckets } = await send('ListBuckets', {})
    assert.ok(Buckets.some((bucket) => bucket.Name === Bucket))
    await refused('HeadBucket', { Bucket: 'sdk-js-absent' }, 'NotFound')
  },
  async 'a body with the default checksum'() {
    const put = await send('PutObject', { Bucket, Key: 'plain', Body: body, Metadata: { colour: 'blue' } })
    assert.match(put.ChecksumCRC32, crc)
    assert.equal(put.ETag, `"${createHash('md5').update(body).digest('hex')}"`)
    const got = await send('GetObject', { Bucket, Key: 'plain' })
    assert.equal(got.ChecksumCRC32, put.ChecksumCRC32)
    assert.equal(got.Metadata.colour, 'blue')
    assert.ok((await bytes(got)).equals(body))
  },
  async 'a stream with a trailer'() {
    const put = await send('PutObject', { Bucket, Key: 'stream', Body: Readable.from([body.subarray(0, 70_000), body.subarray(70_000)]), ContentLength: body.length })
    assert.match(put.ChecksumCRC32, crc)
    assert.ok((await bytes(await send('GetObject', { Bucket, Key: 'stream' }))).equals(body))
  },
  async 'every checksum algorithm that node has'() {
    for (const ChecksumAlgorithm of ['CRC32', 'CRC32C', 'SHA1', 'SHA256']) {
      const field = `Checksum${ChecksumAlgorithm}`
      const put = await send('PutObject', { Bucket, Key: 'sum', Body: body, ChecksumAlgorithm })
      const head = await send('HeadObject', { Bucket, Key: 'sum', ChecksumMode: 'ENABLED' })
      assert.ok(put[field])
      assert.equal(head[field], put[field], ChecksumAlgorithm)
    }
  },
  async 'conditions of writes'() {
    await refused('PutObject', { Bucket, Key: 'plain', Body: 'x', IfNoneMatch: '*' }, 'PreconditionFailed')
    await refused('PutObject', { Bucket, Key: 'plain', Body: 'x', IfMatch: '"00000000000000000000000000000000"' }, 'PreconditionFailed')
    const { ETag } = await send('HeadObject', { Bucket, Key: 'plain' })
    await send('PutObject', { Bucket, Key: 'plain', Body: 'y', IfMatch: ETag })
    const error = await refused('GetObject', { Bucket, Key: 'plain', IfMatch: ETag }, 'PreconditionFailed')
    assert.equal(error.$metadata.httpStatusCode, 412)
  },
  async 'managed uploads of streams'() {
    const large = randomBytes(11_000_000)
    const done = await new Upload({ client, params: { Bucket, Key: 'large', Body: Readable.from([large.subarray(0, 6_000_000), large.subarray(6_000_000)]), ContentType: 'x/y' }, queueSize: 2 }).done()
    assert.match(done.ETag, /-3"$/)
    const got = await send('GetObject', { Bucket, Key: 'large' })
    assert.equal(got.ContentType, 'x/y')
    assert.ok((await bytes(got)).equals(large))
    const part = await send('GetObject', { Bucket, Key: 'large', PartNumber: 2 })
    assert.equal(part.PartsCount, 3)
    assert.match(part.ChecksumCRC32, crc)
    assert.ok((await bytes(part)).equals(large.subarray(5 * 1024 * 1024, 10 * 1024 * 1024)))
    const { ObjectParts } = await send('GetObjectAttributes', { Bucket, Key: 'large', ObjectAttributes: ['ObjectParts'] })
    assert.equal(ObjectParts.Parts[1].ChecksumCRC32, part.ChecksumCRC32)
  },
  async 'copies and a paginator'() {
    for (const name of ['a b+c', 'ü/1', 'ü/2']) {
      await send('CopyObject', { Bucket, Key: `copies/${name}`, CopySource: encodeURI(`${Bucket}/stream`) })
    }
    const found = []
    for await (const page of s3sdk.paginateListObjectsV2({ client, pageSize: 1 }, { Bucket, Prefix: 'copies/' })) {
      found.push(...(page.Contents ?? []).map((entry) => entry.Key))
    }
    assert.deepEqual(found, ['copies/a b+c', 'copies/ü/1', 'copies/ü/2'])
  },
  async 'presigned requests'() {
    const put = new s3sdk.PutObjectCommand({ Bucket, Key: 'signed', Metadata: { colour: 'red' }, ContentType: 'text/x' })
    const url = await getSignedUrl(client, put, { expiresIn: 60 })
    assert.match(url, /x-amz-meta-colour=red/, 'the SDK moves headers into the query')
    assert.match(url, /x-amz-checksum-crc32=AAAAAA/, 'and the checksum of a body that it does not have')
    const answer = await fetch(url, { method: 'PUT', body: 'hello', headers: { 'content-type': 'text/x' } })
    assert.equal(answer.status, 200, await answer.text())
    const head = await send('HeadObject', { Bucket, Key: 'signed' })
    assert.equal(head.Metadata.colour, 'red')
    assert.equal(head.ContentType, 'text/x')
    const get = await getSignedUrl(client, new s3sdk.GetObjectCommand({ Bucket, Key: 'signed', ResponseContentType: 'text/z' }))
    const got = await fetch(get)
    assert.equal(got.headers.get('content-type'), 'text/z')
    assert.equal(await got.text(), 'hello')
    const tagged = new s3sdk.PutObjectCommand({ Bucket, Key: 'signed', Tagging: 'a=b' })
    const refusal = await fetch(await getSignedUrl(client, tagged), { method: 'PUT', body: 'x' })
    assert.equal(refusal.status, 501, 'what is not built is refused in the query as well')
  },
  async 'deletes'() {
    const { Contents } = await send('ListObjectsV2', { Bucket })
    const { Deleted } = await send('DeleteObjects', { Bucket, Delete: { Objects: Contents.map(({ Key }) => ({ Key })) } })
    assert.equal(Deleted.length, Contents.length)
    await s3sdk.waitUntilObjectNotExists({ client, maxWaitTime: 10 }, { Bucket, Key: 'plain' })
    await send('CreateMultipartUpload', { Bucket, Key: 'left open' })
    await send('DeleteBucket', { Bucket })
    await s3sdk.waitUntilBucketNotExists({ client, maxWaitTime: 10 }, { Bucket })
  },
}

for (const [name, step] of Object.entries(steps)) {
  await step()
  console.log(`ok: ${name}`)
}
console.log('every step of the AWS SDK for JavaScript passed')
