package interop

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestCurlDownload passes as much through as a phone does in a day; neither side
// holds it in memory, both hash it.
func TestCurlDownload(t *testing.T) {
	integration(t)
	o, r := startOrigin(t, false), anonymous(t)
	for _, c := range []struct {
		mode curlMode
		size int64
	}{
		{curlSOCKS5, 1 << 30},
		{curlConnect, 1 << 30},
		{curlAbsolute, 256 << 20},
	} {
		t.Run(c.mode.name, func(t *testing.T) {
			path := fmt.Sprintf("/bytes/%d", c.size)
			got, errs, size := sha256.New(), new(bytes.Buffer), new(counter)
			began := time.Now()
			code := runTo(t, 2*time.Minute, nil, io.MultiWriter(got, size), errs, "curl",
				append(c.mode.via(r.proxy(c.mode.protocol)), "-f", o.URL+path)...)
			if want := o.sentSum(t); code != 0 || sum(got) != want || size.n != c.size {
				t.Errorf("got exit %d, %d bytes, sum %s; want exit 0, %d bytes, sum %s\n%s", code, size.n, sum(got), c.size, want, errs)
			}
			t.Logf("%d MiB in %v", c.size>>20, time.Since(began).Round(time.Millisecond))
		})
	}
}

func TestCurlUpload(t *testing.T) {
	integration(t)
	const size = 64 << 20
	o, r := startOrigin(t, false), quickstart(t, "--egress-allow", "127.0.0.0/8")
	h := sha256.New()
	file := filepath.Join(t.TempDir(), "64MiB.bin")
	content := patternBytes(size)
	h.Write(content)
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("%d %s", size, sum(h))
	for _, mode := range curlModes {
		t.Run(mode.name, func(t *testing.T) {
			// curl adds "Expect: 100-continue" to a body of this size and waits for the answer.
			curl(t, nil, append(mode.via(r.proxy(mode.protocol)), "-T", file, o.URL+"/sum")...).check(t, want)
		})
	}
	t.Run("absolute-form chunked", func(t *testing.T) {
		curl(t, bytes.NewReader(content), append(curlAbsolute.via(r.proxy("http")), "-T", "-", o.URL+"/sum")...).check(t, want)
	})
}

// TestCurlParallel holds 50 requests at the origin until the last of them has come.
func TestCurlParallel(t *testing.T) {
	integration(t)
	for _, mode := range []curlMode{curlSOCKS5, curlConnect, curlAbsolute} {
		t.Run(mode.name, func(t *testing.T) {
			o, r := startOrigin(t, false), quickstart(t, "--egress-allow", "127.0.0.0/8")
			dir := t.TempDir()
			res := runProgram(t, time.Minute, nil, "curl", append(mode.via(r.proxy(mode.protocol)),
				"-f", "-Z", "--parallel-immediate", "--parallel-max", "50",
				"-o", filepath.Join(dir, "#1"), o.URL+"/together/[1-50]")...)
			if res.code != 0 {
				t.Errorf("got exit %d, want 0\n%s", res.code, res.stderr)
			}
			for i := 1; i <= o.together; i++ {
				got, _ := os.ReadFile(filepath.Join(dir, fmt.Sprint(i)))
				if want := fmt.Sprintf("number %d", i); string(got) != want {
					t.Errorf("request %d: got %q, want %q", i, got, want)
				}
			}
		})
	}
}

// counter counts the bytes written to it.
type counter struct{ n int64 }

func (c *counter) Write(p []byte) (int, error) { c.n += int64(len(p)); return len(p), nil }
