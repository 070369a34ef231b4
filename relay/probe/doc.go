// Package probe asks a server what a stranger would ask, and a second server
// beside it, and says where their answers differ.
//
// A relay hides behind an ordinary web site. Whoever suspects it sends what no
// browser sends: junk of every length, handshakes that stop in the middle, odd
// records, nothing at all. He compares what comes back with what a web server
// does. [Run] does the same to an address under test and to a reference, a
// server with the same certificate and content and no relay before it. What
// is compared:
//
//   - the bytes, without those that vary between two runs against the
//     reference itself (randoms, key shares, signatures, dates);
//   - the TLS records: their order, types, versions and lengths, and what is
//     in them where the probe holds the keys;
//   - the end: an orderly end, a reset, or none, and whether the server still
//     takes bytes after its end;
//   - the times of the first byte, the last one and the end.
//
// A probe is a row of a table in one of the family files (hellos.go, junk.go,
// …): a name, what it sends in a line of words, and a function that sends it.
// What varies by chance is told from what differs by repeating: a difference
// that is not seen in every run is looked at again before it counts.
//
// The path of a run: plan.go picks the probes, run.go opens connections,
// conn.go records them, trace.go and http.go read the record, compare.go and
// times.go judge, report.go prints.
//
// The package knows nothing of the flow. It dials what it is told to dial and
// nothing else; probing a server of somebody else's is not what it is for.
package probe
