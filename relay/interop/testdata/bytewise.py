"""A SOCKS5 client (RFC 1928, RFC 1929) that sends every byte on its own.

usage: bytewise.py PROXY-HOST PROXY-PORT USER PASSWORD TARGET-HOST TARGET-PORT
An empty USER means no authentication. The target must be an echo.
"""

import socket
import sys
import time

PAUSE = 0.010


def send(s, data):
    for i in range(len(data)):
        s.sendall(data[i:i + 1])
        time.sleep(PAUSE)


def receive(s, n):
    data = b""
    while len(data) < n:
        got = s.recv(n - len(data))
        if not got:
            sys.exit("got end of stream after %r, want %d bytes" % (data, n))
        data += got
    return data


def want(what, got, wanted):
    if got != wanted:
        sys.exit("%s: got %r, want %r" % (what, got, wanted))


def main():
    proxy_host, proxy_port, user, password, host, port = sys.argv[1:]
    s = socket.create_connection((proxy_host, int(proxy_port)), timeout=20)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    method = 2 if user else 0
    send(s, bytes([5, 1, method]))
    want("method", receive(s, 2), bytes([5, method]))
    if user:
        u, p = user.encode(), password.encode()
        send(s, bytes([1, len(u)]) + u + bytes([len(p)]) + p)
        want("password", receive(s, 2), bytes([1, 0]))
    try:
        address = bytes([1]) + socket.inet_aton(host)
    except OSError:
        address = bytes([3, len(host)]) + host.encode()
    send(s, bytes([5, 1, 0]) + address + int(port).to_bytes(2, "big"))
    want("reply", receive(s, 10)[:4], bytes([5, 0, 0, 1]))

    message = b"one byte at a time"
    send(s, message)
    want("echo", receive(s, len(message)), message)
    s.shutdown(socket.SHUT_WR)
    want("end", s.recv(1), b"")
    print("ok")


main()
