// Package transport is the vocabulary of the relay: streams that close one
// half at a time, targets, dialers, requests, and connections whose first
// bytes can be looked at before anyone claims them. It knows no protocol.
//
// Two rules run through everything built on it. A stream is always a [Conn],
// never a bare net.Conn, because the end of one direction has to survive every
// layer. And whoever is handed a Conn closes it.
package transport
