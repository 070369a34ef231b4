package site

import (
	"io"
	"net/http"
	"strings"
	"sync"

	"golang.org/x/net/http/httpguts"
)

// upgradeProtocol is what h asks to switch to, or "".
func upgradeProtocol(h http.Header) string {
	if !httpguts.HeaderValuesContainsToken(h["Connection"], "Upgrade") {
		return ""
	}
	return strings.ToLower(h.Get("Upgrade"))
}

// webSocketNames are the headers of RFC 6455 that net/http spells differently
// from their RFC; some servers mind.
var webSocketNames = map[string]string{
	"Sec-Websocket-Accept":     "Sec-WebSocket-Accept",
	"Sec-Websocket-Extensions": "Sec-WebSocket-Extensions",
	"Sec-Websocket-Key":        "Sec-WebSocket-Key",
	"Sec-Websocket-Protocol":   "Sec-WebSocket-Protocol",
	"Sec-Websocket-Version":    "Sec-WebSocket-Version",
}

func spellWebSocket(h http.Header) {
	for from, to := range webSocketNames {
		if v, ok := h[from]; ok {
			delete(h, from)
			h[to] = v
		}
	}
}

// upgrade passes on that the upstream switches protocols, and then everything
// that either side says, until one of them ends.
func upgrade(w http.ResponseWriter, out *http.Request, res *http.Response) {
	back, ok := res.Body.(io.ReadWriteCloser)
	if !ok {
		_ = res.Body.Close()
		return
	}
	defer back.Close()
	to := upgradeProtocol(res.Header)
	if !printable(to) || !strings.EqualFold(upgradeProtocol(out.Header), to) {
		return
	}
	addAll(w.Header(), res.Header)
	spellWebSocket(w.Header())
	w.WriteHeader(res.StatusCode)
	front, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer front.Close()
	if buffered.Flush() != nil {
		return
	}
	if n := buffered.Reader.Buffered(); n > 0 {
		early, _ := buffered.Peek(n)
		if _, err := back.Write(early); err != nil {
			return
		}
	}
	ended := make(chan struct{}, 2)
	var both sync.WaitGroup
	pass := func(dst io.Writer, src io.Reader) {
		both.Go(func() {
			_, _ = io.CopyBuffer(onlyWriter{dst}, onlyReader{src}, make([]byte, bodySize))
			ended <- struct{}{}
		})
	}
	pass(back, front)
	pass(front, back)
	select {
	case <-ended:
	case <-out.Context().Done():
	}
	_ = front.Close()
	_ = back.Close()
	both.Wait()
}

// printable reports whether s is printable ASCII.
func printable(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}
