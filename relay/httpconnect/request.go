package httpconnect

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"relay/auth"
	"relay/relay/policy"
	"relay/transport"
)

// request is an opened CONNECT or absolute-form request.
type request struct {
	c      *transport.Peeked
	http   *http.Request
	user   auth.User
	target transport.Target
}

// User implements transport.Request.
func (r *request) User() auth.User { return r.user }

// Target implements transport.Request.
func (r *request) Target() transport.Target { return r.target }

const established = "HTTP/1.1 200 Connection established\r\n\r\n"

// Accept implements transport.Request.
func (r *request) Accept(_ context.Context, far transport.Conn) (near, newFar transport.Conn, err error) {
	if r.http.Method == http.MethodConnect {
		if _, err := io.WriteString(r.c, established); err != nil {
			return nil, nil, fmt.Errorf("httpconnect: reply: %w", err)
		}
		return r.c, far, nil
	}
	return newForwarded(r.c, r.http, r.target), newAwaited(far, r.http), nil
}

// Deny implements transport.Request. The texts are for the person in front of
// the browser.
func (r *request) Deny(reason error) error {
	status, text := refusal(reason)
	return answer(r.c, r.http, status, text)
}

func refusal(reason error) (status int, text string) {
	switch {
	case errors.Is(reason, policy.ErrDenied):
		return http.StatusForbidden, "This proxy does not connect to that place."
	case errors.Is(reason, auth.ErrQuota):
		return http.StatusForbidden, "You have used up your quota on this proxy."
	case errors.Is(reason, auth.ErrTooManyConns), errors.Is(reason, auth.ErrTooManyIPs):
		return http.StatusTooManyRequests, "You have too many connections or devices on this proxy."
	case auth.Refused(reason):
		return http.StatusForbidden, "Your access to this proxy has ended."
	case errors.Is(reason, policy.ErrTimeout):
		return http.StatusGatewayTimeout, "The target did not answer in time."
	case errors.Is(reason, policy.ErrNotFound):
		return http.StatusBadGateway, "The name of the target does not exist."
	}
	return http.StatusBadGateway, "The target cannot be reached."
}
