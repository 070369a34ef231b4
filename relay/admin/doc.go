// Package admin is the control socket of a running relay: HTTP with JSON over a
// Unix socket in the state folder that only the relay's own user and root may
// open. The command line speaks to it; while no relay runs, it asks the same
// handler in its own process, so that there is one implementation of every
// command.
package admin
