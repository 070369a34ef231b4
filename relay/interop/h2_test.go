package interop

import (
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"io"
	"os"
	"path/filepath"
	"testing"

	"relay/transport/h2"
)

// TestH2Nginx has our end of HTTP/2 speak with nginx, which is no Go: frames, windows
// and header blocks are read by code that shares nothing with ours.
func TestH2Nginx(t *testing.T) {
	integration(t)
	c := newCover(t)
	want := make([]byte, 20<<20) // more than the connection's window
	_, _ = rand.Read(want)
	if err := os.WriteFile(filepath.Join(c.dir, "big.css"), want, 0o644); err != nil {
		t.Fatal(err)
	}
	conn, err := tls.Dial("tcp", c.nginx(t), &tls.Config{ServerName: coverName, InsecureSkipVerify: true, NextProtos: []string{"h2"}})
	if err != nil {
		t.Fatal(err)
	}
	client := h2.NewConn(conn, &h2.Fingerprint{
		Settings: []h2.Setting{
			{ID: h2.SettingHeaderTableSize, Value: 65536},
			{ID: h2.SettingEnablePush, Value: 0},
			{ID: h2.SettingInitialWindowSize, Value: 6 << 20},
			{ID: h2.SettingMaxHeaderListSize, Value: 256 << 10},
		},
		Window:   15<<20 - 65535,
		Priority: &h2.Priority{Exclusive: true, Chain: true, Weight: 219},
		Apart:    true,
	})
	defer client.Close()
	for _, tt := range []struct {
		name, method, path string
		body               int
		status             int
		want               []byte
	}{
		{"page", "GET", "/", 0, 200, nil},
		{"the same again", "GET", "/", 0, 200, nil},
		{"large", "GET", "/big.css", 0, 200, want},
		{"small upload", "POST", "/big.css", 100, 405, nil},
		{"upload that is not read", "POST", "/big.css", 2 << 20, 405, nil},
		{"missing", "GET", "/missing", 0, 404, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, err := client.Open(t.Context(), h2.Head{
				Method: tt.method, Scheme: "https", Authority: coverName, Path: tt.path,
				Fields: []h2.Field{{Name: "user-agent", Value: "Mozilla/5.0"}, {Name: "accept", Value: "*/*"}},
			}, nil, tt.body == 0)
			if err != nil {
				t.Fatalf("Open: got %v, want a stream", err)
			}
			defer s.Close()
			if tt.body > 0 {
				// nginx may end a request before it has it all.
				_, _ = s.Write(make([]byte, tt.body))
				_ = s.CloseWrite()
			}
			status, _, err := s.Response(t.Context())
			if err != nil || status != tt.status {
				t.Fatalf("Response: got %d, %v, want %d", status, err, tt.status)
			}
			b, err := io.ReadAll(s)
			if err != nil || len(b) == 0 || tt.want != nil && !bytes.Equal(b, tt.want) {
				t.Errorf("Read: got %d bytes and %v, want the page", len(b), err)
			}
		})
	}
	if err := client.Ping(t.Context()); err != nil {
		t.Errorf("Ping: got %v, want an answer", err)
	}
}
