package policy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
)

// What became of a target, for the reply codes of the inbounds. Every error of
// this package that a client can cause matches at most one of them.
var (
	// ErrDenied matches every [DeniedError].
	ErrDenied = errors.New("denied")
	// ErrNotFound says that a name does not exist or has no address.
	ErrNotFound = errors.New("name has no address")
	// ErrResolve says that the name servers gave no usable answer.
	ErrResolve = errors.New("name servers failed")
	// ErrTimeout says that a name server or the target did not answer in time.
	ErrTimeout = errors.New("timed out")
	// ErrRefused says that the target reset the attempt: nobody listens.
	ErrRefused = errors.New("connection refused")
	// ErrNetUnreachable says that this machine has no way to the network.
	ErrNetUnreachable = errors.New("network unreachable")
	// ErrHostUnreachable says that the network cannot reach the host.
	ErrHostUnreachable = errors.New("host unreachable")
)

// errInvalidTarget is a mistake of the caller, not of the client.
var errInvalidTarget = errors.New("policy: invalid target")

// DeniedError says that policy refuses a target. Reason is one of a fixed set
// of phrases and never contains the target.
type DeniedError struct{ Reason string }

// Error is "policy: denied: " and the reason.
func (e *DeniedError) Error() string { return "policy: denied: " + e.Reason }

// Is makes errors.Is(err, ErrDenied) true.
func (e *DeniedError) Is(target error) bool { return target == ErrDenied }

// Refusals are made once: under attack they are the common answer, and must
// cost no allocation.
var (
	denyOwn       = &DeniedError{"own listener"}
	denyMachine   = &DeniedError{"address of this machine"}
	denyRule      = &DeniedError{"denied by rule"}
	denyName      = &DeniedError{"local name"}
	denySingle    = &DeniedError{"name without a dot"}
	denySMTP      = &DeniedError{"smtp port"}
	denyPreset    = &DeniedError{"not in presets"}
	denyZone      = &DeniedError{"address with a zone"}
	denyNotGlobal = &DeniedError{"not a global address"}
)

// failure turns what the net package said into one of the sentinels. The text
// of a net.OpError or net.DNSError names the target, so none of it is kept.
func failure(stage string, err error) error {
	return fmt.Errorf("policy: %s: %w", stage, classify(err))
}

func classify(err error) error {
	for _, known := range []error{
		ErrNotFound, ErrResolve, ErrTimeout, ErrRefused, ErrNetUnreachable, ErrHostUnreachable, context.Canceled,
	} {
		if errors.Is(err, known) {
			return known
		}
	}
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		if known := fromErrno(errno); known != nil {
			return known
		}
		return errno
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) {
		return ErrTimeout
	}
	if ne, ok := errors.AsType[net.Error](err); ok && ne.Timeout() {
		return ErrTimeout
	}
	// The net package reports a cancelled context with an error of its own,
	// "operation was canceled", which matches context.Canceled above. What is
	// left has no better name.
	return errors.New("connection failed")
}

// telling orders failures by how much they say about the target: of several
// addresses, the one that answered "no" explains more than the one that this
// machine has no route to (typically IPv6 on an IPv4-only host).
func telling(err error) int {
	switch {
	case errors.Is(err, ErrRefused):
		return 4
	case errors.Is(err, ErrTimeout):
		return 3
	case errors.Is(err, ErrHostUnreachable):
		return 2
	case errors.Is(err, ErrNetUnreachable):
		return 0
	}
	return 1
}
