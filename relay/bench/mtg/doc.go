// Package mtg only fixes the version of mtg, a proxy for Telegram, that the bench
// builds as a peer to compare with: go.mod names it as a tool.
package mtg
