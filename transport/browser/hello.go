package browser

import (
	"bytes"
	"io"
	"math/rand/v2"
	"slices"

	utls "github.com/refraction-networking/utls"
)

// spec is what the library is told to send for one connection. Nothing in it is
// shared: the library writes keys and drawn numbers into it.
func (p *Profile) spec(c *Config) *utls.ClientHelloSpec {
	t, protocols := &p.TLS, c.Protocols
	var without Numbers
	if c.WebSocket {
		without = p.WebSocket.Without
		protocols = either(protocols, p.WebSocket.Protocols)
	}
	protocols = either(protocols, t.Protocols)
	var list []utls.TLSExtension
	for _, e := range t.drawn() {
		if slices.Contains(without, e.ID) || e.ID == extServerName && c.ServerName == "" || e.ID == extECH && c.NoECH {
			continue
		}
		list = append(list, t.extension(e, protocols))
	}
	if c.Sessions != nil {
		// The last one, by RFC 8446, Section 4.2.11; not there without a ticket.
		list = append(list, &utls.UtlsPreSharedKeyExtension{})
	}
	return &utls.ClientHelloSpec{CipherSuites: numbers[uint16](t.CipherSuites), Extensions: list}
}

func either(a, b []string) []string {
	if a != nil {
		return a
	}
	return b
}

// drawn is the order of extensions for one connection. GREASE stays at the ends,
// as in BoringSSL.
func (t *TLS) drawn() []Extension {
	list := slices.Clone(t.Extensions)
	if !t.Shuffle {
		return list
	}
	middle := list
	if len(middle) > 0 && middle[0].ID == GREASE {
		middle = middle[1:]
	}
	if n := len(middle); n > 0 && middle[n-1].ID == GREASE {
		middle = middle[:n-1]
	}
	rand.Shuffle(len(middle), func(i, j int) { middle[i], middle[j] = middle[j], middle[i] })
	return list
}

// extension is one for the library. The library draws GREASE for what it finds a
// placeholder in, the same for a group and its key, but not for signature
// algorithms.
func (t *TLS) extension(e Extension, protocols []string) utls.TLSExtension {
	switch e.ID {
	case GREASE:
		return &utls.UtlsGREASEExtension{}
	case extServerName:
		return &utls.SNIExtension{}
	case extGroups:
		return &utls.SupportedCurvesExtension{Curves: numbers[utls.CurveID](t.Groups)}
	case extSignatureAlgorithms:
		l := numbers[utls.SignatureScheme](t.SignatureAlgorithms)
		for i, n := range t.SignatureAlgorithms {
			if n == GREASE {
				l[i] = utls.SignatureScheme(drawGREASE())
			}
		}
		return &utls.SignatureAlgorithmsExtension{SupportedSignatureAlgorithms: l}
	case extALPN:
		return &utls.ALPNExtension{AlpnProtocols: slices.Clone(protocols)}
	case extPadding:
		return &utls.UtlsPaddingExtension{GetPaddingLen: utls.BoringPaddingStyle}
	case extSessionTicket:
		return &utls.SessionTicketExtension{}
	case extVersions:
		return &utls.SupportedVersionsExtension{Versions: numbers[uint16](t.Versions)}
	case extKeyShare:
		shares := make([]utls.KeyShare, len(t.KeyShares))
		for i, n := range t.KeyShares {
			shares[i].Group = utls.CurveID(n)
			if n == GREASE {
				shares[i].Data = []byte{0}
			}
		}
		return &utls.KeyShareExtension{KeyShares: shares}
	case extECH:
		sizes := make([]uint16, len(t.ECHPayloads))
		for i, n := range t.ECHPayloads {
			sizes[i] = uint16(n - echTag)
		}
		// The browser has AES-128-GCM wherever the processor helps with it.
		return &utls.GREASEEncryptedClientHelloExtension{
			CandidateCipherSuites: []utls.HPKESymmetricCipherSuite{{KdfId: hkdfSHA256, AeadId: aes128GCM}},
			CandidatePayloadLens:  sizes,
		}
	}
	x, _ := unchanging(e)
	return x
}

// Numbers of HPKE (RFC 9180, Section 7).
const (
	hkdfSHA256 = 1
	aes128GCM  = 1
)

// unchanging is an extension whose body the profile has. The library has to know
// those that say what it does in the handshake; ok is false where such a body is
// not what it would write.
func unchanging(e Extension) (x utls.TLSExtension, ok bool) {
	switch id := uint16(e.ID); id {
	case 5, 11, 18, 23, 27, 45, 0x4469, 0x44cd, 0xff01:
		x = utls.ExtensionFromID(id)
	default:
		return &utls.GenericExtension{Id: id, Data: e.Body}, true
	}
	if w, can := x.(utls.TLSExtensionWriter); can && len(e.Body) > 0 {
		if _, err := w.Write(e.Body); err != nil {
			return nil, false
		}
	}
	b := make([]byte, x.Len())
	n, err := x.Read(b)
	return x, err == io.EOF && n >= 4 && bytes.Equal(b[4:n], e.Body)
}

// constant reports whether the library can send an extension as it is.
func constant(e Extension) bool {
	if made(e.ID) {
		return true
	}
	_, ok := unchanging(e)
	return ok
}

// drawGREASE is one of the 16 numbers of RFC 8701.
func drawGREASE() uint16 { return uint16(GREASE) + 0x1010*uint16(rand.N(16)) }

func numbers[T ~uint16](l Numbers) []T {
	out := make([]T, len(l))
	for i, n := range l {
		out[i] = T(n)
	}
	return out
}
