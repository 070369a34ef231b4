package splice_test

import (
	"io"
	"slices"
	"testing"

	"relay/relay/splice"
)

// BenchmarkMessage is a 300-byte message and its answer through a flow.
func BenchmarkMessage(b *testing.B) {
	for _, p := range paths {
		b.Run(p.name, func(b *testing.B) {
			c := p.core(0)
			defer c.Drain(b.Context())
			j := p.join(b, c, splice.Limits{}, nil)
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

// BenchmarkBulk is 1 MiB one way through a flow: splice(2) for "tcp" on Linux,
// and a copy of the same for "limited", where a rate limit that never holds
// anything up keeps the reads small.
func BenchmarkBulk(b *testing.B) {
	for _, p := range append(slices.Clone(paths), path{name: "limited", pair: plainPair}) {
		b.Run(p.name, func(b *testing.B) {
			const size = 1 << 20
			c := p.core(0)
			defer c.Drain(b.Context())
			j := p.join(b, c, splice.Limits{}, &meter{limited: p.name == "limited"})
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
