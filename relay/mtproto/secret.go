package mtproto

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// SecretSize is the length of a user's key: what [Keys] holds and clients hash.
const SecretSize = 16

// Kind is a kind of secret, and of disguise.
type Kind string

// The kinds, as the configuration has them.
const (
	KindFakeTLS Kind = "ee"     // inside what looks like TLS to a named site
	KindPadded  Kind = "dd"     // noise, with messages of padded length
	KindSimple  Kind = "simple" // noise, with messages of their own length
)

const (
	markFakeTLS = 0xee
	markPadded  = 0xdd

	// maxSecretName is the longest name that tdlib takes in a secret
	// (td/mtproto/ProxySecret.h).
	maxSecretName = 182
)

// errSecret says nothing about the text: it may be somebody's secret.
var errSecret = errors.New("mtproto: not a proxy secret")

// Secret writes a secret as hexadecimal digits, the one form that every client
// reads. name is the server name of [KindFakeTLS]. It is empty for a kind that
// does not exist.
func Secret(kind Kind, key [SecretSize]byte, name string) string {
	switch kind {
	case KindFakeTLS:
		return hex.EncodeToString(slices.Concat([]byte{markFakeTLS}, key[:], []byte(name)))
	case KindPadded:
		return hex.EncodeToString(append([]byte{markPadded}, key[:]...))
	case KindSimple:
		return hex.EncodeToString(key[:])
	}
	return ""
}

// ParseSecret reads a secret in any form that clients read, in tdlib's order:
// hexadecimal, base64url, base64 (td/mtproto/ProxySecret.cpp). The name is
// checked for nothing but its length.
func ParseSecret(text string) (kind Kind, key [SecretSize]byte, name string, err error) {
	b, err := decodeSecret(text)
	if err != nil {
		return "", key, "", err
	}
	switch {
	case len(b) == SecretSize:
		return KindSimple, [SecretSize]byte(b), "", nil
	case len(b) == 1+SecretSize && b[0] == markPadded:
		return KindPadded, [SecretSize]byte(b[1:]), "", nil
	case len(b) > 1+SecretSize && len(b) <= 1+SecretSize+maxSecretName && b[0] == markFakeTLS:
		return KindFakeTLS, [SecretSize]byte(b[1:]), string(b[1+SecretSize:]), nil
	}
	return "", key, "", errSecret
}

func decodeSecret(text string) ([]byte, error) {
	// encoding/base64 skips line ends, and tdlib does not.
	if len(text) > 2*(1+SecretSize+maxSecretName) || strings.ContainsAny(text, "\r\n") {
		return nil, errSecret
	}
	if b, err := hex.DecodeString(text); err == nil {
		return b, nil
	}
	// base64url goes with and without padding, base64 with it (tdlib,
	// tdutils/td/utils/base64.cpp); bits that stand for nothing are 0.
	for _, e := range []*base64.Encoding{base64.RawURLEncoding, base64.URLEncoding, base64.StdEncoding} {
		if b, err := e.Strict().DecodeString(text); err == nil {
			return b, nil
		}
	}
	return nil, errSecret
}

// Links returns the links that set a client up, the one that opens the app
// first. server is a host name or an address, with or without brackets. Clients
// refuse links with anything more in them.
func Links(server string, port uint16, secret string) []string {
	if host, _, err := net.SplitHostPort(server + ":1"); err == nil {
		server = host
	}
	query := "proxy?server=" + url.QueryEscape(server) + "&port=" + strconv.Itoa(int(port)) + "&secret=" + url.QueryEscape(secret)
	return []string{"tg://" + query, "https://t.me/" + query}
}
