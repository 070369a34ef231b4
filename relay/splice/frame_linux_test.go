package splice_test

import (
	"bytes"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"net"
	"testing"
	"time"

	"relay/relay/splice"
	"relay/transport"
)

// framed puts payload into records of changing sizes, behind two bytes of length.
// It counts who makes them.
type framed struct {
	transport.Codec
	n, frames, encodes int
}

func (f *framed) Frame(dst []byte, n int) ([]byte, int) {
	f.frames++
	f.n++
	size := min(n, []int{1, 1420, 4096, 16384, 60000}[f.n%5])
	return binary.BigEndian.AppendUint16(dst, uint16(size)), size
}

func (f *framed) FrameSize() int { return 60000 }

func (f *framed) Encode(dst, payload []byte) ([]byte, error) {
	f.encodes++
	for len(payload) > 0 {
		var n int
		dst, n = f.Frame(dst, len(payload))
		f.frames--
		dst, payload = append(dst, payload[:n]...), payload[n:]
	}
	return dst, nil
}

func (f *framed) Decode(dst, wire []byte) ([]byte, error) { return append(dst, wire...), nil }
func (f *framed) Ended() error                            { return nil }
func (f *framed) End(dst []byte) []byte                   { return dst }

// unframe reads records until the end and returns the payload.
func unframe(r io.Reader) ([]byte, error) {
	var all []byte
	var head [2]byte
	for {
		if _, err := io.ReadFull(r, head[:]); err != nil {
			if err == io.EOF {
				err = nil
			}
			return all, err
		}
		n := len(all)
		all = append(all, make([]byte, binary.BigEndian.Uint16(head[:]))...)
		if _, err := io.ReadFull(r, all[n:]); err != nil {
			return all, err
		}
	}
}

// slowly reads in pieces of all sizes, and rests between some: the sink is full
// in the middle of headers and of records.
type slowly struct{ r io.Reader }

func (s slowly) Read(b []byte) (int, error) {
	if rand.N(20) == 0 {
		time.Sleep(time.Duration(rand.N(3)) * time.Millisecond)
	}
	return s.r.Read(b[:min(len(b), 1+rand.N(40000))])
}

// The kernel moves bulk between headers, and no byte is lost or doubled, however
// the reader behaves.
func TestFramedBulk(t *testing.T) {
	for name, reader := range map[string]func(io.Reader) io.Reader{
		"fast": func(r io.Reader) io.Reader { return r },
		"slow": func(r io.Reader) io.Reader { return slowly{r} },
	} {
		t.Run(name, func(t *testing.T) {
			e := tcpEnds(t)
			if name == "slow" {
				_ = e.client.(*net.TCPConn).SetReadBuffer(64 << 10)
			}
			codec := new(framed)
			core := splice.New(0)
			end := make(chan splice.End, 1)
			core.Join(transport.NewCoded(e.near, codec), e.far, splice.Limits{}, nil, func(e splice.End) { end <- e })
			want := make([]byte, 12<<20)
			for i := range want {
				want[i] = byte(i>>16) ^ byte(i*7)
			}
			go func() {
				_, _ = e.server.Write(want)
				_ = e.server.CloseWrite()
			}()
			got, err := unframe(reader(e.client))
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("got %d bytes and %v, want the %d that were sent", len(got), err, len(want))
			}
			_ = e.client.Close()
			_ = e.server.Close()
			if d := <-end; d.Down != int64(len(want)) {
				t.Errorf("end: got %+v, want %d bytes down", d, len(want))
			}
			if codec.frames < 100 {
				t.Errorf("got %d records that the kernel filled and %d encodings, want most of it moved", codec.frames, codec.encodes)
			}
			core.Drain(t.Context())
		})
	}
}
