package splice_test

import (
	"io"
	"testing"

	"relay/relay/splice"
)

// BenchmarkMessage is a 300-byte message and its answer through a flow.
func BenchmarkMessage(b *testing.B) {
	for kind := range kinds {
		b.Run(kind, func(b *testing.B) {
			j := join(b, splice.New(0), kind, splice.Limits{}, nil)
			defer j.close()
			msg := make([]byte, 300)
			b.ReportAllocs()
			for b.Loop() {
				_, _ = j.client.Write(msg)
				if _, err := io.ReadFull(j.server, msg); err != nil {
					b.Fatal(err)
				}
				_, _ = j.server.Write(msg)
				if _, err := io.ReadFull(j.client, msg); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkBulk is 1 MiB one way through a flow. "tcp" is splice(2) on Linux;
// "copy" is the same sockets with a rate limit that never holds anything up.
func BenchmarkBulk(b *testing.B) {
	for name, acct := range map[string]*meter{"tcp": {}, "memory": {}, "copy": {limited: true}} {
		b.Run(name, func(b *testing.B) {
			kind := name
			if name == "copy" {
				kind = "tcp"
			}
			const size = 1 << 20
			j := join(b, splice.New(0), kind, splice.Limits{}, acct)
			defer j.close()
			go func() {
				out := make([]byte, 256<<10)
				for {
					if _, err := j.client.Write(out); err != nil {
						return
					}
				}
			}()
			in := make([]byte, 256<<10)
			b.SetBytes(size)
			b.ReportAllocs()
			for b.Loop() {
				for range size / len(in) {
					if _, err := io.ReadFull(j.server, in); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}
