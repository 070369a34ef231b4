// Package browser makes connections that a watcher cannot tell from those of a
// web browser. What a browser sends is data: a [Profile], captured from a real
// one and replaceable without a new program.
//
// It is the TLS of an entry's way to an exit: [Profile.Client] sends the
// browser's ClientHello, with keys that are real and numbers that are drawn
// anew for each connection as the browser draws them, and gives back the
// encrypted stream. The HTTP/2 and the headers of the profile are for whoever
// speaks on that stream.
package browser
