// Package acme runs the built relay against Pebble, the small certificate
// authority of Let's Encrypt, and its DNS server: certificates by each challenge,
// their renewal, and what happens when the authority or the relay goes away in
// the middle.
//
// Pebble is built from a module of its own, in testdata/pebble, as it wants other
// versions of the relay's modules: 10 s, and 20 s for the tests, which mostly wait;
// two minutes on two cores where nothing has been compiled before. PEBBLE_DIR names a folder in which pebble and
// pebble-challtestsrv are built already, RELAY_BIN a relay. Only loopback is
// contacted.
package acme
