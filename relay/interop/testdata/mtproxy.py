# Telethon through an MTProto proxy: the first question of a key exchange. Telegram's
# servers and gotd's take no key exchange of this Telethon's age any more.
import asyncio
import sys

from telethon import TelegramClient, connection, functions
from telethon.network import MTProtoPlainSender
from telethon.sessions import MemorySession


async def main(host, port, secret, framing):
    kind = {
        "padded": connection.ConnectionTcpMTProxyRandomizedIntermediate,
        "intermediate": connection.ConnectionTcpMTProxyIntermediate,
        "abridged": connection.ConnectionTcpMTProxyAbridged,
    }[framing]
    client = TelegramClient(MemorySession(), 1, "hash", connection=kind, proxy=(host, port, secret))
    # Only the number of the data centre gets to the proxy.
    c = kind("127.0.0.1", 443, 2, loggers=client._log, proxy=client._proxy)
    await c.connect(timeout=20)
    sender = MTProtoPlainSender(c, loggers=client._log)
    nonce = int.from_bytes(b"as good as random", "big", signed=False) >> 16
    answer = await sender.send(functions.ReqPqMultiRequest(nonce))
    if answer.nonce != nonce:
        sys.exit("got the nonce %d, want %d" % (answer.nonce, nonce))
    await c.disconnect()
    print("ok")


if __name__ == "__main__":
    args = sys.argv[1:]
    asyncio.run(asyncio.wait_for(main(args[0], int(args[1]), args[2], args[3]), 60))
