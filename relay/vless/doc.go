// Package vless is VLESS, the protocol that Xray, sing-box and their relatives speak
// inside a disguise: the inbound for it, the [Dialer] that reaches targets through an
// exit with it, and the links by which people hand such exits around. It has no
// encryption, and its only secret is a UUID, so it goes inside carriers alone: the
// carrier proves the user, and the UUID must be that user's.
//
// # The opening
//
// A client says it with its first payload in one write (Xray,
// proxy/vless/encoding/encoding.go):
//
//	1 version 0 | 16 UUID | 1 length, addons | 1 command | 2 port | 1 type, address | payload
//
// Port and address are absent for command 3. Types of address are 1 IPv4, 2 name
// behind a byte of length, 3 IPv6. Bytes 6 and 7 of the UUID are the client's to
// choose and are not compared (proxy/vless/validator.go). The addons are a
// protobuf message: field 1 is the flow, which has to be empty here, as Vision is
// for a TLS that the client can see through.
//
// The answer is two bytes, version and no addons, and goes with the first bytes
// that come down. Nothing tells a client that a request failed: the connection is
// reset.
//
// # Datagrams
//
// Command 2 is one association with one target: both ways, two bytes of length and
// a datagram. sing-box begins with one of length 0, which is none. Xray uses it
// for ports 53 and 443 and command 3 for everything else.
//
// # Many requests in one stream
//
// Command 3 is Mux.Cool (common/mux/frame.go, common/xudp/xudp.go):
//
//	2 length of what follows up to the data | 2 session | 1 status | 1 option
//	1 network | 2 port | 1 type, address | 8 global id     status new
//	1 network 2 | 2 port | 1 type, address                 status keep, of datagrams
//	2 length | data                                        option 1
//
// The status is 1 new, 2 keep, 3 end or 4 keep alive, which means nothing; option 2
// beside an end says that it is an error. Network 1 is TCP, 2 UDP. XUDP is the same
// with one session, number 0, whose datagrams each name their peer; answers name
// theirs, in frames that always have data, as sing-box takes that for granted.
//
// # What Xray does and we do otherwise
//
// To Xray an end closes both directions, on both sides: who ends his upload loses
// the answer. Here a client's end is the end of what he says, and the answer goes
// on; a client that has forgotten the session meets each of its frames with another
// end, which is when it is over. The end that we send is that of the target's
// direction; what the client still says goes on to the target.
//
// A global id lets an association of datagrams go on in another stream, from the
// same port of the relay, for a minute after its own was lost: Xray keeps a table of
// them for all its users. Here it goes unread: the client sends on, from a
// new port.
//
// A session that the target takes nothing from holds up to [mostAhead] bytes, or
// [queueSize] where all together hold too much, then the whole stream, since the protocol
// has no windows. It is ended when that has taken [holdTime], or when the target has taken
// nothing for [stallTime]. A client hears padding meanwhile, as its pings go unread;
// in Xray it holds the stream for as long as it likes. Datagrams that find no room
// are dropped. A stream without a session ends after [idleTime].
//
// # The client half
//
// An opening goes out with the first payload, in one piece, or by itself once somebody
// has waited for an answer for [Dialer.Wait]. So it is the first Write that finds out that the
// exit cannot be reached. It may be padded with the addons' field 2, a seed that
// nobody reads. Datagrams are XUDP in a stream of their own, each with its target,
// names as they are.
//
// Streams that share one of Mux.Cool's are the server's sessions from the other end:
// a queue of [clientQueue] at least, [clientLife] of them in the life of a stream, an idle
// one ends after [clientIdle]. Where one holds up the others, new ones begin elsewhere. An end that Xray's server gets closes both directions
// there, and it answers with an error: that is one here too, as the answer is lost.
//
// With [Dialer.Shape] the beginnings of its sessions are padded by keep-alive frames
// with data, status 4 and option 1, which every server throws away. The data begins
// with a number of sizes, and these, in two bytes each: our server says padding of the
// first size, which asks for the others in turn, and pads the first short answers. It
// does neither for a client that sends no such frame.
//
// With [Dialer.Asks] such a frame is also a ping: its data begins with 0xfe, more sizes
// than there may be, and that of the answer, which is as long, with 0xff. The first goes
// beside the first session's opening. Other servers, and older relays, do not answer it;
// none is expected then.
package vless
