package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"relay/transport/faketls"
)

// TestCoversOutliveARestart keeps what was measured, for the same cover and from a
// file that is whole.
func TestCoversOutliveARestart(t *testing.T) {
	file := filepath.Join(t.TempDir(), coversFile)
	found := faketls.Cover{CipherSuite: 0x1302, Group: 0x11ec, KeyShareFirst: true, Sizes: []int{690, 691}, SafariSizes: []int{706}, Records: 4}
	var first covers
	first.recall(file, "127.0.0.1:8443")
	if err := first.learn("www.example.org", found); err != nil {
		t.Fatalf("learn: got %v, want nil", err)
	}
	if fi, err := os.Stat(file); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("file: got %v, %v, want mode 0600", fi, err)
	}
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, cover, text string
		want              faketls.Cover
	}{
		{"the same", "127.0.0.1:8443", string(whole), found},
		{"another cover", "127.0.0.1:9443", string(whole), faketls.Cover{}},
		{"half a file", "127.0.0.1:8443", string(whole[:len(whole)/2]), faketls.Cover{}},
		{"no size", "127.0.0.1:8443", `{"cover":"127.0.0.1:8443","names":{"www.example.org":{}}}`, faketls.Cover{}},
		{"a size that cannot be", "127.0.0.1:8443", `{"cover":"127.0.0.1:8443","names":{"www.example.org":{"Sizes":[-1]}}}`, faketls.Cover{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := os.WriteFile(file, []byte(tt.text), 0o600); err != nil {
				t.Fatal(err)
			}
			var next covers
			next.recall(file, tt.cover)
			if got := next.of("www.example.org"); !reflect.DeepEqual(got, tt.want) {
				t.Errorf("after a restart: got %+v, want %+v", got, tt.want)
			}
		})
	}
}

// A reload keeps what is known of a cover that stays.
func TestCoversOutliveAReload(t *testing.T) {
	var c covers
	c.recall(filepath.Join(t.TempDir(), coversFile), "site")
	if err := c.learn("www.example.org", faketls.Cover{Sizes: []int{700}}); err != nil {
		t.Fatalf("learn: got %v, want nil", err)
	}
	_ = os.Remove(c.file)
	c.recall(c.file, "site")
	if got := c.of("www.example.org"); len(got.Sizes) != 1 {
		t.Errorf("after a reload: got %+v, want what was measured", got)
	}
	c.recall(c.file, "127.0.0.1:8443")
	if got := c.of("www.example.org"); len(got.Sizes) != 0 {
		t.Errorf("after a reload with another cover: got %+v, want nothing", got)
	}
}

// TestCoversLook measures anew when a site has another certificate, and not before.
func TestCoversLook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		began := time.Now()
		leaf := func(string) []byte {
			if time.Since(began) > 65*time.Second {
				return []byte("new")
			}
			return []byte("old")
		}
		var at []time.Duration
		dial := func(context.Context) (net.Conn, error) {
			if now := time.Since(began); len(at) == 0 || at[len(at)-1] != now {
				at = append(at, now)
			}
			return nil, errors.New("down")
		}
		go new(covers).measure(ctx, dial, []string{"www.example.org"}, leaf, slog.New(slog.DiscardHandler))
		time.Sleep(95 * time.Second)
		cancel()
		synctest.Wait()
		if want := []time.Duration{0, coverProbeSoon, 2 * coverProbeSoon, 2*coverProbeSoon + coverLook}; !slices.Equal(at, want) {
			t.Errorf("measured at %v, want %v", at, want)
		}
	})
}
