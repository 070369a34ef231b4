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
	done chan struct{} // closed when nothing is accepted any more
}

// Listen opens the control socket in dir. The caller has the database of that
// folder open, so that a socket which is already there is a dead one.
func Listen(dir string) (net.Listener, error) {
	path := filepath.Join(dir, SocketFile)
	if len(path) > longestSocket {
		return nil, fmt.Errorf("control socket: the path %s is longer than the %d bytes that a socket may have; choose a shorter state folder", path, longestSocket)
	}
	if err := removeStale(path); err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	ln, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	// Whoever gets in before this, through a folder that is open to others,
	// is still turned away by peerListener.
	if err := os.Chmod(path, 0o600); err != nil {
		_ = ln.Close()
		return nil, fmt.Errorf("control socket: %w", err)
	}
	return ln, nil
}

// Serve answers at the control socket.
func Serve(ln net.Listener, h http.Handler, log *slog.Logger) *Server {
	s := &Server{done: make(chan struct{}), http: &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      60 * time.Second,
		IdleTimeout:       10 * time.Second,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}}
	go func() {
		defer close(s.done)
		_ = s.http.Serve(netutil.LimitListener(&peerListener{ln}, maxClients))
	}()
	return s
}

// removeStale removes a socket that a relay left behind when it was killed,
// and nothing else that has its name.
func removeStale(path string) error {
	fi, err := os.Lstat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return err
	case fi.Mode().Type() != os.ModeSocket:
		return fmt.Errorf("%s is in the way and no socket", path)
	}
	return os.Remove(path)
}

// closeTimeout is how long a request that runs may take when the socket is
// closed.
const closeTimeout = 2 * time.Second

// Close closes the socket, removes it, and waits a little for the requests
// that run.
func (s *Server) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	err := s.http.Shutdown(ctx)
	if err != nil {
		err = s.http.Close()
	}
	<-s.done
	return err
}

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
