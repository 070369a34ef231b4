package httpconnect

import (
	"strings"
	"testing"

	"relay/relay"
	"relay/transport"
)

func TestHeadSize(t *testing.T) {
	const line = "CONNECT www.example.org:443 HTTP/1.1\r\n"
	sized := func(n int) string {
		const field = "X-Long: "
		return line + field + strings.Repeat("a", n-len(line)-len(field)-4) + "\r\n\r\n"
	}
	fields := func(n int) string { return line + strings.Repeat("X-Many: a\r\n", n) + "\r\n" }
	for _, tt := range []struct {
		name, head, want string
	}{
		{"at the limit", sized(transport.MaxPeek), ""},
		{"one byte beyond", sized(transport.MaxPeek + 1), tooLarge},
		{"far beyond", sized(3 * transport.MaxPeek), tooLarge},
		{"without an end", strings.Repeat("A", 2*transport.MaxPeek), tooLarge},
		{"fields at the limit", fields(mostFields), ""},
		{"one field more", fields(mostFields + 1), tooLarge},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := open(t, anonymous(), tt.head)
			if tt.want != "" {
				o.refused(t, tt.want, relay.ErrBadRequest)
			} else if o.err != nil || len(o.writes) > 0 {
				t.Errorf("Open: got %v and writes %q, want nil and none", o.err, o.writes)
			}
		})
	}
}

// TestBadHeads: everything that two servers could read differently is refused,
// before anything is asked of auth.
func TestBadHeads(t *testing.T) {
	const post, end = "POST http://www.example.org/ HTTP/1.1\r\nHost: www.example.org\r\n", "\r\n"
	for _, tt := range []struct{ name, head string }{
		{"bare LF", "GET http://www.example.org/ HTTP/1.1\nHost: www.example.org\n\n"},
		{"bare LF in a field", post + "X-A: b\nX-Evil: c\r\n" + end},
		{"bare LF at the end", post + "\n" + end},
		{"bare CR in a field", post + "X-A: b\rX-Evil: c\r\n" + end},
		{"bare CR at a line's end", post + "X-A: b\r\r\n" + end},
		{"bare CR in the request line", "GET http://www.example.org/\rX HTTP/1.1\r\n\r\n"},
		{"NUL in a field", post + "X-A: b\x00c\r\n" + end},
		{"NUL in the request line", "GET http://www.example.org/\x00 HTTP/1.1\r\n\r\n"},
		{"control character in a field", post + "X-A: b\x01c\r\n" + end},
		{"DEL in a field", post + "X-A: b\x7fc\r\n" + end},
		{"folded line", post + "X-A: b\r\n c\r\n" + end},
		{"folded first line", "GET http://www.example.org/ HTTP/1.1\r\n X-A: b\r\n\r\n"},
		{"folded Content-Length", post + "Content-Length: 1\r\n\t0\r\n" + end},
		{"space before the colon", post + "Content-Length : 5\r\n" + end},
		{"space in a name", post + "X A: b\r\n" + end},
		{"no name", post + ": b\r\n" + end},
		{"no colon", post + "X-A\r\n" + end},
		{"name in UTF-8", post + "X-Ä: b\r\n" + end},
		{"two Content-Length", post + "Content-Length: 5\r\nContent-Length: 6\r\n" + end},
		{"two equal Content-Length", post + "Content-Length: 5\r\ncontent-length: 5\r\n" + end},
		{"list in Content-Length", post + "Content-Length: 5, 5\r\n" + end},
		{"negative Content-Length", post + "Content-Length: -1\r\n" + end},
		{"signed Content-Length", post + "Content-Length: +5\r\n" + end},
		{"hexadecimal Content-Length", post + "Content-Length: 0x5\r\n" + end},
		{"empty Content-Length", post + "Content-Length:\r\n" + end},
		{"huge Content-Length", post + "Content-Length: 99999999999999999999\r\n" + end},
		{"Content-Length and chunked", post + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n" + end},
		{"chunked and Content-Length", post + "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n" + end},
		{"two Transfer-Encoding", post + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n" + end},
		{"chunked twice", post + "Transfer-Encoding: chunked, chunked\r\n" + end},
		{"gzip, chunked", post + "Transfer-Encoding: gzip, chunked\r\n" + end},
		{"identity", post + "Transfer-Encoding: identity\r\n" + end},
		{"chunked, identity", post + "Transfer-Encoding: chunked, identity\r\n" + end},
		{"xchunked", post + "Transfer-Encoding: xchunked\r\n" + end},
		{"quoted chunked", post + "Transfer-Encoding: \"chunked\"\r\n" + end},
		{"chunked with a vertical tab", post + "Transfer-Encoding: \x0bchunked\r\n" + end},
		{"chunked on HTTP/1.0", "POST http://www.example.org/ HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"},
		{"chunked on HTTP/1.0 with a length", "POST http://www.example.org/ HTTP/1.0\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n"},
		{"two Host", post + "Host: evil.example\r\n" + end},
		{"two credentials", post + "Proxy-Authorization: Basic " + alice + "\r\nProxy-Authorization: Basic evil\r\n" + end},
		{"HTTP/2.0", "GET http://www.example.org/ HTTP/2.0\r\n\r\n"},
		{"HTTP/0.9", "GET http://www.example.org/ HTTP/0.9\r\n\r\n"},
		{"no version", "GET http://www.example.org/\r\n\r\n"},
		{"version in small letters", "GET http://www.example.org/ http/1.1\r\n\r\n"},
		{"two spaces", "GET  http://www.example.org/ HTTP/1.1\r\n\r\n"},
		{"space in the URL", "GET http://www.example.org/a b HTTP/1.1\r\n\r\n"},
		{"tab for a space", "GET http://www.example.org/\tHTTP/1.1\r\n\r\n"},
		{"bad escape in the URL", "GET http://www.example.org/%zz HTTP/1.1\r\n\r\n"},
		{"empty request line", "\r\n\r\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			open(t, anonymous(), tt.head+"0\r\n\r\nGET /evil HTTP/1.1\r\n\r\n").refused(t, notAProxy, relay.ErrBadRequest)
		})
	}
}

// A head that cannot become valid is refused at its first wrong byte: nobody
// waits for a deadline.
func TestBadHeadAtOnce(t *testing.T) {
	for _, said := range []string{"GET http://www.example.org/ HTTP/1.1\n", "GET \x00", "GET /\rX"} {
		o := open(t, anonymous(), said)
		o.refused(t, notAProxy, relay.ErrBadRequest)
	}
}

func TestMatch(t *testing.T) {
	in := &Inbound{}
	for _, tt := range []struct {
		prefix string
		want   relay.Verdict
	}{
		{"", relay.More},
		{"C", relay.More},
		{"CONNECT", relay.More},
		{"CONNECT ", relay.Yes},
		{"GET ", relay.Yes},
		{"GE ", relay.No},
		{" GET", relay.No},
		{"connect www.example.org:443 HTTP/1.1\r\n\r\n", relay.No},
		{"Get ", relay.No},
		{"M-SEARCH * HTTP/1.1", relay.No},
		{strings.Repeat("A", longestMethod), relay.More},
		{strings.Repeat("A", longestMethod) + " ", relay.Yes},
		{strings.Repeat("A", longestMethod+1), relay.No},
		{"SSH-2.0-OpenSSH", relay.No},
		{"\x16\x03\x01", relay.No},
		{"\x05\x01\x00", relay.No},
	} {
		if got := in.Match([]byte(tt.prefix)); got != tt.want {
			t.Errorf("Match(%q): got %d, want %d", tt.prefix, got, tt.want)
		}
	}
}
