package websocket

import (
	"crypto/sha1" //nolint:gosec // RFC 6455, Section 4.2.2, has nothing else; nothing secret depends on it
	"encoding/base64"
)

// AcceptKey is the server's answer to the key of a handshake (RFC 6455, Section 1.3).
func AcceptKey(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11")) //nolint:gosec // see the import
	return base64.StdEncoding.EncodeToString(sum[:])
}
