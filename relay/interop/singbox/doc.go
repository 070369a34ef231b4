// Package singbox only fixes the version of sing-box, whose program the tests
// beside it build as a client: go.mod names it as a tool. It is run as a program
// and never linked, as its licence is the GPL. go.mod holds what the program is
// made of: "go mod tidy" would also want what the tests of its modules need, a
// version that no proxy has among it.
package singbox
