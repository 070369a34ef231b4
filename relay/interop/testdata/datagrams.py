"""PySocks as a client of UDP ASSOCIATE.

datagrams.py RELAY-HOST RELAY-PORT USER PASSWORD ECHO-PORT DNS-PORT KNOWN-NAME [SIZE...]

asks an echo at 127.0.0.1 for datagrams of several sizes, a name server for an address
with a query of its own making, and the echo again by the name that it knows. Sizes
are in bytes. Prints "ok", or what went wrong.
"""

import socket
import struct
import sys

import socks

host, port, user, password, echo_port, dns_port, name = sys.argv[1:8]
sizes = [int(a) for a in sys.argv[8:]] or (1, 0, 100, 1200, 1472, 9000, 60000)
ECHO, DNS = ("127.0.0.1", int(echo_port)), ("127.0.0.1", int(dns_port))


def fail(what):
    print(what)
    sys.exit(1)


def open_socket():
    s = socks.socksocket(socket.AF_INET, socket.SOCK_DGRAM)
    s.set_proxy(socks.SOCKS5, host, int(port), rdns=True, username=user or None, password=password or None)
    s.settimeout(10)
    s.bind(("", 0))
    return s


def wants(s, to, payload, sender):
    s.sendto(payload, to)
    answer, who = s.recvfrom(65535)
    if answer != payload or who != sender:
        fail("%d bytes to %s: got %d bytes from %s" % (len(payload), to, len(answer), who))


s = open_socket()
for size in sizes:
    wants(s, ECHO, b"x" * size, ECHO)
for i in range(200):
    wants(s, ECHO, b"datagram %d" % i, ECHO)

# A query for an address (RFC 1035, Section 4.1).
query = struct.pack(">HHHHHH", 4711, 0x0100, 1, 0, 0, 0)
for label in name.split("."):
    query += bytes([len(label)]) + label.encode()
query += b"\0" + struct.pack(">HH", 1, 1)
s.sendto(query, DNS)
answer, who = s.recvfrom(65535)
if who != DNS or answer[:2] != query[:2] or answer[-4:] != socket.inet_aton("127.0.0.1"):
    fail("name server: got %r from %s" % (answer, who))

wants(s, (name, ECHO[1]), b"by name", ECHO)

# Two associations at once do not hear each other.
other = open_socket()
wants(other, ECHO, b"other", ECHO)
wants(s, ECHO, b"first again", ECHO)

# A connected socket, as most programs use it.
other.connect(ECHO)
other.send(b"connected")
if other.recv(100) != b"connected":
    fail("connected: got another answer")
s.close()
other.close()
print("ok")
