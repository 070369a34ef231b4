package faketls

import (
	"crypto/mlkem"
	"math/rand/v2"

	"relay/transport/hello"
)

const (
	mostSizes  = 256
	mostFlight = 1 << 20 // longer ones are cut to maxFlight anyway
)

// Cover is how a real server answers a client's hello, as far as a Server can do
// the same. [Probe] measures it. The zero Cover knows nothing: an X25519 key, the
// first cipher suite that the client offers, and a size of our own.
type Cover struct {
	// CipherSuite is what the server picks; 0 if it follows the client's order.
	CipherSuite uint16
	// Group is the key exchange that the server picks from a hello with shares
	// for X25519MLKEM768 and X25519.
	Group uint16
	// KeyShareFirst says that key_share stands before supported_versions in the
	// ServerHello: BoringSSL writes them so, OpenSSL and Go the other way round.
	KeyShareFirst bool
	// Sizes are what the encrypted part of the first flight took on the wire,
	// headers included, one for each handshake seen. They differ by the length
	// of a signature. A flight of ours takes one of them.
	Sizes []int
	// SafariSizes are those for hellos that put AES-256 first, as Apple's do: its
	// Finished is longer, and certificates are compressed in another way. Empty
	// if they are not known apart.
	SafariSizes []int
	// Records is how many encrypted records that was. Ours is always one: more
	// would be payload to a client.
	Records int
	// Retry says that the server answers with a HelloRetryRequest, which this
	// disguise cannot imitate: it is no cover.
	Retry bool
}

// Valid reports whether a Cover can be what [Probe] has returned, when it comes from
// elsewhere.
func (c *Cover) Valid() bool {
	if len(c.Sizes) == 0 || len(c.Sizes) > mostSizes || len(c.SafariSizes) > mostSizes {
		return false
	}
	for _, sizes := range [][]int{c.Sizes, c.SafariSizes} {
		for _, n := range sizes {
			if n <= recordHeader || n > mostFlight {
				return false
			}
		}
	}
	return true
}

// suiteFor is the cipher suite that the cover would pick.
func (c *Cover) suiteFor(h *hello.Hello) uint16 {
	if c.CipherSuite != 0 && h.OffersSuite(c.CipherSuite) {
		return c.CipherSuite
	}
	return firstSuite(h)
}

// firstSuite is the first of TLS 1.3 that the client offers.
func firstSuite(h *hello.Hello) uint16 {
	for suite := range h.CipherSuites() {
		if suite >= suiteAES128 && suite <= suiteLast {
			return suite
		}
	}
	return suiteAES128
}

// groupFor is the key exchange that the cover would pick, of those for which the
// client has sent a key.
func (c *Cover) groupFor(h *hello.Hello) uint16 {
	const size = mlkem.EncapsulationKeySize768 + 32
	if c.Group == hello.GroupX25519MLKEM768 && len(h.KeyShare(c.Group)) == size {
		return c.Group
	}
	return hello.GroupX25519
}

// recordSize is how long the noise of one flight is.
func (c *Cover) recordSize(h *hello.Hello) int {
	sizes := c.Sizes
	if len(c.SafariSizes) > 0 && firstSuite(h) == suiteAES256 {
		sizes = c.SafariSizes
	}
	size := sizes[rand.IntN(len(sizes))] - recordHeader
	return max(minNoise, min(size, maxFlight))
}

const (
	// minNoise is the least that a server can send: EncryptedExtensions and
	// Finished, as if it resumed a session.
	minNoise = 64
	// What a chain of two certificates takes, more or less.
	leastUnknown, mostUnknown = 2500, 4700
)

// unknownCover has a size that stays the same for a Server, as that of a real one
// does, except for its signature: ECDSA signatures in DER lose a byte for each
// of their two numbers that needs none for its sign.
func unknownCover() Cover {
	size := leastUnknown + rand.IntN(mostUnknown-leastUnknown)
	return Cover{Sizes: []int{size, size - 1, size - 1, size - 2}}
}
