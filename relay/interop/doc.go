// Package interop proves the built relay against other people's programs: curl,
// Chromium, Python and a Telegram client, and against raw sockets where those
// are too polite.
//
// It is a module of its own, so that the requirements of the test peers stay out
// of the product's go.mod, and of the product it imports the disguises only: what
// else it knows is the command line, the ready lines, the config file and the
// wire. Only loopback is contacted; names are answered by a DNS server inside the
// test.
package interop
