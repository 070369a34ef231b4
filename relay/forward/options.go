package forward

import (
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"

	"relay/transport"
)

// Options is the [forward] table.
type Options struct {
	// Target is "host:port", where connections go.
	Target string `toml:"target"`
	// Targets has a target of its own for a listener, by the address of the
	// listener as [[listen]] has it.
	Targets map[string]string `toml:"targets"`
}

// For returns the target of the listener with that address; false says that the
// options name none. The target is invalid where Check reports a fault.
func (o *Options) For(address string) (transport.Target, bool) {
	text, own := o.Targets[address]
	if !own {
		text = o.Target
	}
	to, _ := transport.ParseTarget(text)
	return to, text != ""
}

// Check reports every fault; key is relative to the table.
func (o *Options) Check(fault func(key, problem, hint string)) {
	if o.Target != "" {
		checkTarget("target", o.Target, fault)
	}
	for _, address := range slices.Sorted(maps.Keys(o.Targets)) {
		checkTarget(TargetsKey(address), o.Targets[address], fault)
	}
}

// TargetsKey is the key of a listener's own target, relative to the table.
func TargetsKey(address string) string { return "targets." + strconv.Quote(address) }

func checkTarget(key, text string, fault func(key, problem, hint string)) {
	const example = `write it such as "example.org:443", "203.0.113.5:443" or "[2001:db8::5]:443"`
	if _, err := transport.ParseTarget(text); err == nil {
		return
	}
	host, port, err := net.SplitHostPort(text)
	n, portErr := strconv.ParseUint(port, 10, 16)
	switch {
	case text == "":
		fault(key, "empty", example)
	case strings.Contains(text, "/"):
		fault(key, fmt.Sprintf("%q is more than a host and a port", text), example)
	case err != nil || port == "":
		fault(key, fmt.Sprintf("%q has no port", text), example)
	case portErr != nil || n == 0:
		fault(key, fmt.Sprintf("%q is not a port", port), "ports are numbers from 1 to 65535")
	default:
		fault(key, fmt.Sprintf("%q is neither a host name nor an address", host), example)
	}
}
