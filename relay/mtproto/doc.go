// Package mtproto is the inbound for Telegram's MTProto proxy protocol
// (obfuscated2), with the table of Telegram's data centres.
//
// # The frame
//
// A client begins with a frame of 64 bytes, and its payload follows without a
// gap (tdlib, td/mtproto/TcpTransport.cpp). As plain text it is
//
//	0-7 random | 8-39 key material | 40-55 IV | 56-59 tag | 60-61 data centre | 62-63 random
//
// and 0-55 go out like that; 56-63 go out encrypted. Both directions are
// AES-256-CTR with the whole IV as the counter:
//
//	client to proxy   key = SHA-256(frame[8:40] | secret), IV = frame[40:56], at position 64
//	proxy to client   the same of frame[8:56] reversed, at position 0
//
// The tag says how the client frames its messages, which is nobody's business
// here but the data centre's; the data centre is a signed number (dc.go). There
// is no time in the frame and no other check than the tag: whoever has the
// secret has four bytes that fit, and everything else is noise.
//
// # The leg to the data centre
//
// It is the same protocol, with a frame of our own and no secret. The frame is
// chosen so that the data centre's key and IV towards us are ours towards the
// client: then what comes down passes as it is, and most of the traffic costs no
// encryption at all. The price is that the two links carry the same bytes, so
// that whoever sees both can match them with certainty instead of by size and
// time, and that the frame on the second link, which has no secret, holds the
// key to what comes down on the first one (it is the disguise's key only:
// Telegram's own encryption lies below). Inbound.Reencrypt makes the two
// independent, for two passes of AES.
//
// What the client sends is decrypted and encrypted anew in one [transport.Codec]
// on the client's side (codec.go), which says the frame ahead of the first
// payload: one write, one packet. The data centre's side stays a plain socket.
// Where the processor has VAES, both passes of AES are one (double.go).
//
// # The way there
//
// A data centre has several addresses, and most have a server that takes the same
// stream in WebSocket messages over TLS ([Way]). [Table] has them in the order in
// which they are tried, [Health] what has failed; what users' connections run
// into feeds it, and [Table.Watch] looks without them. [Table.States] is what to show
// an operator.
package mtproto
