package h2_test

import (
	"bytes"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"relay/transport/h2"
)

// replay is a connection whose peer says what it says, in pieces, and keeps what it
// is sent.
type replay struct {
	*peer // addresses and deadlines
	in    []byte
	piece int

	mu    sync.Mutex
	start chan struct{}
	out   bytes.Buffer
	gone  bool
}

func (r *replay) Read(b []byte) (int, error) {
	<-r.start
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.in) == 0 || r.gone {
		return 0, io.EOF
	}
	n := copy(b[:min(len(b), r.piece)], r.in)
	r.in = r.in[n:]
	return n, nil
}

func (r *replay) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.gone {
		return 0, net.ErrClosed
	}
	return r.out.Write(b)
}

func (r *replay) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.gone = true
	return nil
}

// FuzzRead: whatever a server says, the connection ends when that does, no stream has
// more bytes than have come, and what we say is HTTP/2. testdata/servers has what
// servers said.
func FuzzRead(f *testing.F) {
	names, err := filepath.Glob("testdata/servers/*")
	if err != nil || len(names) < 2 {
		f.Fatalf("recordings: got %d, %v, want those of servers", len(names), err)
	}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatalf("recording: got %v, want it", err)
		}
		f.Add(b, uint16(1))
		f.Add(b, uint16(40000))
	}
	f.Fuzz(func(t *testing.T, in []byte, piece uint16) {
		synctest.Test(t, func(t *testing.T) {
			r := &replay{in: in, piece: max(1, int(piece)), start: make(chan struct{})}
			c := h2.NewConn(r, chrome())
			var streams [3]*h2.Stream
			for i := range streams {
				streams[i] = open(t, c, request("POST", "/"), []byte("body"), i == 0)
			}
			var wg sync.WaitGroup
			for i, s := range streams {
				wg.Go(func() {
					n, err := io.Copy(io.Discard, s)
					if n > int64(len(in)) {
						t.Errorf("Read: got %d bytes and %v, want at most the %d that came", n, err, len(in))
					}
				})
				wg.Go(func() {
					if i == 1 {
						_, _ = s.Write(make([]byte, 100000))
						_ = s.CloseWrite()
					}
				})
			}
			close(r.start)
			<-c.Done()
			wg.Wait()
			if c.Err() == nil || c.Streams() != 0 {
				t.Errorf("Err: got %v and %d streams, want an error and none", c.Err(), c.Streams())
			}
			checkFrames(t, r.out.Bytes())
		})
	})
}

// checkFrames reads what a client has sent.
func checkFrames(t *testing.T, b []byte) {
	t.Helper()
	b, ok := bytes.CutPrefix(b, []byte(http2.ClientPreface))
	if !ok {
		t.Fatalf("got %q, want the preface first", b[:min(len(b), 30)])
	}
	fr := http2.NewFramer(nil, bytes.NewReader(b))
	fr.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	fr.ReadMetaHeaders.SetAllowedMaxDynamicTableSize(64 << 10)
	for {
		_, err := fr.ReadFrame()
		if err == io.EOF {
			return
		}
		if err != nil {
			t.Fatalf("ReadFrame of what was sent: got %v, want frames", err)
		}
	}
}
