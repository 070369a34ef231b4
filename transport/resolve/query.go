package resolve

import (
	"fmt"

	"golang.org/x/net/dns/dnsmessage"
)

const (
	// paddedTo is the block that a query fills (RFC 8467, Section 4.1), so that its
	// size does not tell the name.
	paddedTo = 128
	// paddingCode is the EDNS(0) option of RFC 7830.
	paddingCode   = 12
	payloadOffers = 4096 // the UDP payload of the OPT record, as Chromium has it
)

// newQuery is a question as Chromium 156 sends it to a DoH server, byte for byte:
// id 0, which caches need (RFC 8484, Section 4.1), and one OPT record with padding.
func newQuery(name dnsmessage.Name, t dnsmessage.Type) ([]byte, error) {
	pack := func(padding int) ([]byte, error) {
		m := dnsmessage.Message{
			Header:    dnsmessage.Header{RecursionDesired: true},
			Questions: []dnsmessage.Question{{Name: name, Type: t, Class: dnsmessage.ClassINET}},
			Additionals: []dnsmessage.Resource{{
				Header: dnsmessage.ResourceHeader{Name: dnsmessage.MustNewName("."), Class: payloadOffers},
				Body:   &dnsmessage.OPTResource{Options: []dnsmessage.Option{{Code: paddingCode, Data: make([]byte, padding)}}},
			}},
		}
		return m.Pack()
	}
	bare, err := pack(0)
	if err != nil {
		return nil, fmt.Errorf("resolve: make a query: %w", err)
	}
	return pack((paddedTo - len(bare)%paddedTo) % paddedTo)
}

// wireName is a clean name as messages have it.
func wireName(name string) (dnsmessage.Name, error) {
	n, err := dnsmessage.NewName(name + ".")
	if err != nil {
		return n, ErrName
	}
	return n, nil
}
