package web

import (
	"context"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"syscall"

	"relay/transport"
	"relay/transport/browser"
	"relay/transport/h2"
	"relay/transport/resolve"
)

// Stage is a part of the way to a relay, where a Trial may end.
type Stage string

// The stages, in the order in which they are taken.
const (
	StageName    Stage = "name"    // the name is looked up
	StageConnect Stage = "connect" // TCP
	StageHello   Stage = "hello"   // TLS
	StageRequest Stage = "request" // HTTP
	StageData    Stage = "data"    // the relay behind it, and whether it knows the user
	StageVolume  Stage = "volume"  // more than a censor's limit comes down
	StageTarget  Stage = "target"  // somebody beyond the relay
)

// Cause is what a stage has died of.
type Cause string

// The causes. Programs read them: they stay as they are.
const (
	CauseForged      Cause = "forged"       // an answer that no public name has
	CauseNoName      Cause = "no_such_name" // nobody knows the name
	CauseNoECH       Cause = "no_ech"       // the DNS does not say how to hide the name
	CauseSilent      Cause = "silent"       // no answer at all
	CauseReset       Cause = "reset"        // a TCP reset
	CauseClosed      Cause = "closed"       // an end without an answer
	CauseRefused     Cause = "refused"      // somebody said no
	CauseUnreachable Cause = "unreachable"  // no way to this address, or no network
	CauseForbidden   Cause = "forbidden"    // this computer does not let us
	CauseCertificate Cause = "certificate"  // another server's, or somebody in between
	CauseClock       Cause = "clock"        // a certificate of another time
	CauseNotHTTP2    Cause = "not_http2"    // another server than the link says
	CauseECH         Cause = "ech"          // the server does not take it
	CausePath        Cause = "path"         // the server does not know the link's path
	CauseServer      Cause = "server"       // the server or its CDN is in trouble
	CauseStatus      Cause = "status"       // another answer than a relay's
	CauseUser        Cause = "user"         // the relay does not know the user
	CauseFrozen      Cause = "frozen"       // nothing comes any more
	CauseStopped     Cause = "stopped"      // the time was up, or somebody has ended it
	CauseFailed      Cause = "failed"       // anything else
)

// Causes are what each stage can die of.
var Causes = map[Stage][]Cause{
	StageName:    {CauseForged, CauseNoName, CauseNoECH, CauseSilent, CauseFailed, CauseStopped},
	StageConnect: {CauseSilent, CauseReset, CauseRefused, CauseForbidden, CauseUnreachable, CauseFailed, CauseStopped},
	StageHello: {CauseReset, CauseClosed, CauseSilent, CauseRefused, CauseCertificate, CauseClock, CauseNotHTTP2,
		CauseECH, CauseFailed, CauseStopped},
	StageRequest: {CauseReset, CauseClosed, CauseSilent, CausePath, CauseServer, CauseStatus, CauseFailed, CauseStopped},
	StageData:    {CauseUser, CauseSilent, CauseStopped},
	StageVolume:  {CauseFrozen, CauseReset, CauseClosed, CauseFailed, CauseStopped},
	StageTarget:  {CauseRefused, CauseSilent, CauseStopped},
}

// Fault is where a Trial has ended, and of what.
type Fault struct {
	Stage Stage
	Cause Cause
	Err   error // without addresses and secrets
}

// Error implements error.
func (f *Fault) Error() string { return string(f.Stage) + ": " + f.Err.Error() }

// Unwrap returns what was wrong.
func (f *Fault) Unwrap() error { return f.Err }

// newFault says what err means in a stage. ctx is the whole Trial's.
func newFault(ctx context.Context, stage Stage, err error) *Fault {
	f := &Fault{stage, CauseFailed, reason(err)}
	if ctx.Err() != nil {
		f.Cause = CauseStopped
		return f
	}
	switch stage {
	case StageName:
		f.Cause = nameCause(err)
	case StageHello:
		f.Cause = helloCause(err)
	default:
		f.Cause = netCause(err)
	}
	if !slices.Contains(Causes[stage], f.Cause) {
		f.Cause = CauseFailed
	}
	return f
}

func nameCause(err error) Cause {
	switch {
	case errors.Is(err, resolve.ErrPoisoned):
		return CauseForged
	case errors.Is(err, resolve.ErrNotFound), errors.Is(err, resolve.ErrName):
		return CauseNoName
	case errors.Is(err, errNoECH):
		return CauseNoECH
	case errors.Is(err, resolve.ErrTimeout):
		return CauseSilent
	}
	return netCause(err)
}

func helloCause(err error) Cause {
	if invalid, ok := errors.AsType[x509.CertificateInvalidError](err); ok && invalid.Reason == x509.Expired {
		return CauseClock
	}
	if _, ok := errors.AsType[*browser.ECHRejectedError](err); ok {
		return CauseECH
	}
	// So the library says that the other side has sent an alert.
	if oe, ok := errors.AsType[*net.OpError](err); ok && oe.Op == "remote error" {
		return CauseRefused
	}
	switch {
	case errors.Is(err, browser.ErrCertificate):
		return CauseCertificate
	case errors.Is(err, errNotHTTP2):
		return CauseNotHTTP2
	}
	return netCause(err)
}

// errnoCauses are those of the errors of sockets, under Windows too (Winsock).
var errnoCauses = map[syscall.Errno]Cause{
	syscall.ECONNRESET: CauseReset, syscall.EPIPE: CauseReset, syscall.ECONNABORTED: CauseReset, 10053: CauseReset, 10054: CauseReset,
	syscall.ECONNREFUSED: CauseRefused, 10061: CauseRefused,
	syscall.ETIMEDOUT: CauseSilent, 10060: CauseSilent,
	syscall.ENETUNREACH: CauseUnreachable, syscall.EHOSTUNREACH: CauseUnreachable, syscall.EADDRNOTAVAIL: CauseUnreachable,
	10049: CauseUnreachable, 10051: CauseUnreachable, 10065: CauseUnreachable,
	syscall.EACCES: CauseForbidden, syscall.EPERM: CauseForbidden, 10013: CauseForbidden,
}

func netCause(err error) Cause {
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		if c := errnoCauses[errno]; c != "" {
			return c
		}
	}
	switch {
	case errors.Is(err, errFrozen):
		return CauseFrozen
	case errors.Is(err, errSilent), errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return CauseSilent
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed):
		return CauseClosed
	}
	if _, ok := errors.AsType[*h2.GoAwayError](err); ok {
		return CauseClosed
	}
	return CauseFailed
}

// Refusal says what the error of a stream means with which the relay was asked whether it
// knows the user. ctx is the whole question's.
func Refusal(ctx context.Context, err error) *Fault { return judge(ctx, StageData, err, false) }

// judge says what the error of a stream means, with which the relay was asked whether it
// knows the user, or a target. socket says that the stream is a WebSocket of its own which had been opened: what ends it
// then ends with its target.
func judge(ctx context.Context, stage Stage, err error, socket bool) *Fault {
	f := &Fault{stage, CauseUser, reason(err)}
	if stage == StageTarget {
		f.Cause = CauseRefused
	}
	status, isStatus := errors.AsType[statusError](err)
	_, isReset := errors.AsType[*h2.ResetError](err)
	switch {
	case ctx.Err() != nil:
		f.Cause = CauseStopped
	case isStatus:
		f.Stage, f.Cause = StageRequest, CauseStatus
		if status.unknown() {
			f.Cause = CausePath
		} else if status >= 500 {
			f.Cause = CauseServer
		}
	case isReset, stage == StageTarget && socket && errors.Is(err, transport.ErrCarrier):
	case errors.Is(err, transport.ErrCarrier):
		if f = newFault(ctx, StageRequest, err); f.Cause == CauseFailed && errors.Is(err, transport.ErrUnsound) {
			f.Cause = CauseStatus
		}
	case netCause(err) == CauseSilent:
		f.Cause = CauseSilent
	}
	return f
}
