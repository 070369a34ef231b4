// mtcute through an MTProto proxy: a key exchange, a file up, a pause, and the file
// down again.
//
// usage: node client.mjs HOST PORT SECRET KEY-FILE
// KEY-FILE has the data centre's public key.
import { createHash, randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { setTimeout as pause } from 'node:timers/promises'
import { BaseTelegramClient, Long, MemoryStorage, MtProxyTcpTransport } from '@mtcute/node'
import { addPublicKey, NodeCryptoProvider } from '@mtcute/node/utils.js'

const [host, port, secret, keyFile] = process.argv.slice(2)
const size = 4 << 20
const partSize = 256 << 10

const crypto = new NodeCryptoProvider()
await crypto.initialize()
addPublicKey(crypto, readFileSync(keyFile, 'utf8'))
// Only the number of the data centre gets to the proxy.
const dc = { id: 2, ipAddress: '127.0.0.1', port: 9 }
const client = new BaseTelegramClient({
    apiId: 1, apiHash: 'hash', crypto,
    storage: new MemoryStorage(),
    transport: new MtProxyTcpTransport({ host, port: Number(port), secret }),
    defaultDcs: { main: dc, media: dc },
    disableUpdates: true,
    logLevel: 2,
})
await client.connect()
await client.call({ _: 'help.getConfig' })

const fileId = Long.fromNumber(7)
const sent = randomBytes(size)
for (let i = 0; i * partSize < size; i++) {
    const bytes = sent.subarray(i * partSize, (i + 1) * partSize)
    await client.call({ _: 'upload.saveFilePart', fileId, filePart: i, bytes })
}
await pause(2000)
const got = createHash('sha256')
for (let at = 0; at < size; at += partSize) {
    const part = await client.call({
        _: 'upload.getFile', offset: Long.fromNumber(at), limit: partSize,
        // The server files an upload of whoever asks under local id 10.
        location: { _: 'inputFileLocation', volumeId: fileId, localId: 10, secret: Long.ZERO, fileReference: new Uint8Array() },
    })
    got.update(part.bytes)
}
if (!got.digest().equals(createHash('sha256').update(sent).digest())) {
    console.error(`got a file that differs, want the ${size} bytes sent`)
    process.exit(1)
}
await client.disconnect()
console.log('ok')
