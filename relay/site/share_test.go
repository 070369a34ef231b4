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

// TestShared says which connections have the limit: those of users over HTTP/2.
func TestShared(t *testing.T) {
	for _, tt := range []struct {
		path string
		h2   bool
		want bool
	}{{"/", true, false}, {"/mine", true, true}, {"/mine", false, false}} {
		s := newSite(t, Options{Claims: []Claim{func(r *http.Request) (http.Handler, bool) {
			return http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), r.URL.Path == "/mine"
		}}})
		for range 2 {
			res, err := browser(t, s, tt.h2).Get("https://" + siteName + tt.path)
			if err != nil {
				t.Fatal(err)
			}
			_ = res.Body.Close()
		}
		s.mu.Lock()
		for e := s.taken.Front(); e != nil; e = e.Next() {
			c := e.Value.(*taken)
			if got := c.limit.Load() != nil; got != tt.want {
				t.Errorf("%s, HTTP/2 %v: got a limit: %v, want %v", tt.path, tt.h2, got, tt.want)
			}
		}
		if s.taken.Len() == 0 {
			t.Errorf("%s: got no connection, want one that is idle", tt.path)
		}
		s.mu.Unlock()
	}
}
