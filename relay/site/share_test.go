package site

import (
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"relay/relay/relaytest"
)

// TestStuck has a client that reads nothing. He does not hold what he shares with
// others' streams, and a stranger is waited for.
func TestStuck(t *testing.T) {
	for _, shared := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			near, far := relaytest.Pipe()
			defer near.Close()
			c := take(far, time.Now(), closing(func() {}))
			if shared {
				c.share()
			}
			began := time.Now()
			ended := make(chan time.Duration, 1)
			go func() {
				for {
					if _, err := c.Write(make([]byte, 16<<10)); err != nil {
						ended <- time.Since(began)
						return
					}
				}
			}()
			time.Sleep(stuckTime / 2)
			_, _ = io.ReadFull(near, make([]byte, 64<<10)) // slow is not stuck
			time.Sleep(2 * stuckTime)
			synctest.Wait()
			select {
			case after := <-ended:
				if !shared || after != stuckTime*3/2 {
					t.Errorf("shared %v: got an end after %v", shared, after)
				}
			default:
				if shared {
					t.Errorf("shared: got no end after %v, want one a minute after the last byte", time.Since(began))
				}
			}
			_ = c.Close()
		})
	}
}

// TestShared says which connections have the limit: those of users over HTTP/2 that
// golang.org/x/net's server has; package h2 has one of its own.
func TestShared(t *testing.T) {
	for _, tt := range []struct {
		paths [2]string
		h2    bool
		limit bool
		own   bool
	}{
		{[2]string{"/", "/"}, true, false, false},
		{[2]string{"/", "/mine"}, true, true, false},
		{[2]string{"/mine", "/"}, true, false, true},
		{[2]string{"/mine", "/mine"}, false, false, false},
	} {
		s := newSite(t, Options{Claims: []Claim{func(r *http.Request) (http.Handler, bool) {
			return http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), r.URL.Path == "/mine"
		}}})
		client := browser(t, s, tt.h2)
		for _, path := range tt.paths {
			res, err := client.Get("https://" + siteName + path)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = io.Copy(io.Discard, res.Body)
			_ = res.Body.Close()
		}
		s.mu.Lock()
		for e := s.taken.Front(); e != nil; e = e.Next() {
			c := e.Value.(*taken)
			if limit, own := c.limit.Load() != nil, c.records != nil; limit != tt.limit || own != tt.own {
				t.Errorf("%q, HTTP/2 %v: got a limit: %v, our own server: %v, want %v and %v", tt.paths, tt.h2, limit, own, tt.limit, tt.own)
			}
		}
		if s.taken.Len() != 1 {
			t.Errorf("%q: got %d connections, want one that is idle", tt.paths, s.taken.Len())
		}
		s.mu.Unlock()
	}
}
