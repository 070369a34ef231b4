package admin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/net/netutil"
)

// SocketFile is the name of the control socket in the state folder.
const SocketFile = "admin.sock"

// maxClients bounds the connections to the socket.
const maxClients = 32

// longestSocket is what a Unix socket address holds on the systems we build
// for, with the final zero (unix(7): 108 on Linux, 104 on macOS).
const longestSocket = 103

// Server serves the control socket.
type Server struct {
	http *http.Server
	ln   net.Listener
}

// Serve opens the control socket in dir. The caller has the database of that
// folder open, so that a socket which is already there is a dead one.
func Serve(dir string, h http.Handler, log *slog.Logger) (*Server, error) {
	path := filepath.Join(dir, SocketFile)
	if len(path) > longestSocket {
		return nil, fmt.Errorf("control socket: the path %s is longer than the %d bytes that a socket may have; choose a shorter state folder", path, longestSocket)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	ln, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	// The folder is closed to others, so nobody gets in before this.
	if err := os.Chmod(path, 0o600); err != nil {
		_ = ln.Close()
		return nil, fmt.Errorf("control socket: %w", err)
	}
	s := &Server{ln: ln, http: &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      60 * time.Second,
		IdleTimeout:       10 * time.Second,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}}
	go func() { _ = s.http.Serve(netutil.LimitListener(&peerListener{ln}, maxClients)) }()
	return s, nil
}

// Close closes the socket and removes it.
func (s *Server) Close() error { return s.http.Close() }

// peerListener turns away peers that are neither this process's user nor root.
type peerListener struct{ net.Listener }

func (l *peerListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if allowed(c) {
			return c, nil
		}
		_ = c.Close()
	}
}

// allowed is the second lock: the first one is the mode of the socket.
func allowed(c net.Conn) bool {
	uid, known, err := peerUID(c)
	if err != nil {
		return false
	}
	return !known || uid == os.Geteuid() || uid == 0
}

// Dial returns a client of the relay that runs on the state folder dir.
// os.ErrNotExist or a refused connection mean that none does.
func Dial(dir string) (*Client, error) {
	path := filepath.Join(dir, SocketFile)
	c, err := net.Dial("unix", path)
	if err != nil {
		return nil, err
	}
	_ = c.Close()
	return &Client{http: &http.Client{
		Timeout: time.Minute,
		Transport: &http.Transport{
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				var d net.Dialer
				return d.DialContext(ctx, "unix", path)
			},
		},
	}}, nil
}
