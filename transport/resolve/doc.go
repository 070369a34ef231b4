// Package resolve looks up the names of upstreams and of fronts: who this relay
// dials. It never sees a target, which only the exit resolves.
//
// [Static], [System] and [DoH] each are one way to ask; a [Cache] asks several in
// order and remembers. A censor lies about names with addresses that no public
// name has, and says that names do not exist: such an answer is refused
// ([ErrPoisoned]), the next way is asked, and what was true yesterday is used
// before anything fails. [Config] is how the configuration names the ways.
package resolve
