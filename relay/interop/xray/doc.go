// Package xray only fixes the version of Xray, whose program the tests beside it
// and the bench build as client and as server: go.mod names it as a tool.
package xray
