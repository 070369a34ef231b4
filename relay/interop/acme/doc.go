// Package acme runs the built relay against Pebble, the small certificate
// authority of Let's Encrypt, and its DNS server: certificates by each challenge,
// their renewal, and what happens when the authority or the relay goes away in
// the middle.
//
// Pebble is built from a module of its own, in testdata/pebble, as it wants other
// versions of the relay's modules. PEBBLE_DIR names a folder in which pebble and
// pebble-challtestsrv are built already, RELAY_BIN a relay. Only loopback is
// contacted.
package acme
