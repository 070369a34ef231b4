// Package websocket carries a stream in the binary messages of a WebSocket
// (RFC 6455): what a message holds, and where it ends, says nothing. It has the
// frames of both sides as codecs; who opens a WebSocket, and over what, is for
// others.
package websocket
