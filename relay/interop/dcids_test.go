package interop

import (
	"context"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gotd/td/bin"
	"github.com/gotd/td/exchange"
	"github.com/gotd/td/mt"
	"github.com/gotd/td/mtproxy/obfuscated2"
	"github.com/gotd/td/proto"
	"github.com/gotd/td/telegram/dcs"
	"github.com/gotd/td/transport"
)

// testDC is added to the number of a data centre for tests, as clients do.
const testDC = 10000

// idListener takes a data centre's connections out of obfuscated2 and keeps the
// ids that they come with.
type idListener struct {
	net.Listener
	mu  sync.Mutex
	ids []int16
}

// Accept implements net.Listener.
func (l *idListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	inside, frame, err := obfuscated2.Accept(c, nil)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ids = append(l.ids, int16(frame.DC))
	return &obfuscatedConn{c, io.MultiReader(strings.NewReader(string(frame.Protocol[:])), inside), inside}, nil
}

// heard returns the ids since the last call.
func (l *idListener) heard() []int16 {
	l.mu.Lock()
	defer l.mu.Unlock()
	ids := l.ids
	l.ids = nil
	return ids
}

// obfuscatedConn reads and writes what is inside of obfuscated2, after its tag.
type obfuscatedConn struct {
	net.Conn
	r io.Reader
	w io.Writer
}

func (c *obfuscatedConn) Read(b []byte) (int, error)  { return c.r.Read(b) }
func (c *obfuscatedConn) Write(b []byte) (int, error) { return c.w.Write(b) }

// numberedDC is a data centre that tells which ids reach it.
type numberedDC struct {
	*dataCentre
	ids *idListener
}

func startTellingDC(t *testing.T, number int) numberedDC {
	t.Helper()
	ids := new(idListener)
	dc := startNumberedDC(t, number, func(l net.Listener) transport.Listener {
		ids.Listener = l
		return transport.Listen(ids)
	})
	return numberedDC{dc, ids}
}

// TestTelegramDataCentres asks for data centres by every kind of id. The key tells
// which server was reached; the server tells which id it was asked for.
func TestTelegramDataCentres(t *testing.T) {
	integration(t)
	t.Parallel()
	servers := make(map[int]numberedDC)
	var where []string
	for _, number := range []int{2, 203, testDC + 2} {
		servers[number] = startTellingDC(t, number)
		where = append(where, fmt.Sprintf("%q = [%q]", strconv.Itoa(number), servers[number].addr()))
	}
	table := fmt.Sprintf("probe = \"0\"\ndcs = { %s }\n", strings.Join(where, ", "))

	for _, r := range []struct {
		name, lines string
		cases       []asked
	}{
		{"fallback", table, []asked{
			{id: 2, reached: 2, told: 2},
			{id: -2, reached: 2, told: -2},
			{id: 0, reached: 2, told: 2},
			{id: 203, reached: 203, told: 203},
			{id: -203, reached: 203, told: -203},
			{id: testDC + 2, reached: testDC + 2, told: testDC + 2},
			{id: -testDC - 2, reached: testDC + 2, told: -testDC - 2},
			{id: 7, reached: 2, told: 2},
			{id: -7, reached: 2, told: -2},
			{id: testDC + 7, reached: testDC + 2, told: testDC + 2},
		}},
		{"refuse", table + "unknown_dc = \"refuse\"\n", []asked{
			{id: 2, reached: 2, told: 2},
			{id: 7},
			{id: -7},
			{id: testDC + 7},
		}},
	} {
		t.Run(r.name, func(t *testing.T) {
			state := t.TempDir()
			port := publicPortTo(t, nil, state, r.lines)
			alice := userCommand(t, "add", "alice", state)
			for _, kind := range []string{"ee", "dd"} {
				// gotd's own hello in the disguise.
				via, err := dcs.MTProxy(port.proxy("mtproto").Host, secretOf(t, alice, kind), dcs.MTProxyOptions{})
				if err != nil {
					t.Fatal(err)
				}
				for _, c := range r.cases {
					c.check(t, kind, via, servers)
				}
			}
		})
	}
}

// asked is an id, and who is to be reached by it and told which id; nobody if
// reached is 0.
type asked struct {
	id      int
	reached int
	told    int16
}

func (c asked) check(t *testing.T, kind string, via dcs.Resolver, servers map[int]numberedDC) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	// Without one to reach, whoever answers would do.
	number := c.reached
	if number == 0 {
		number = 2
	}
	err := answeredBy(ctx, via, c.id, servers[number].key)
	if (err == nil) != (c.reached != 0) || ctx.Err() != nil {
		t.Errorf("%s, id %d: got %v, want data centre %d (0: a refusal at once)", kind, c.id, err, c.reached)
	}
	for number, dc := range servers {
		var want []int16
		if number == c.reached {
			want = []int16{c.told}
		}
		if got := dc.ids.heard(); !slices.Equal(got, want) {
			t.Errorf("%s, id %d: data centre %d got ids %d, want %d", kind, c.id, number, got, want)
		}
	}
}

// answeredBy asks the proxy for an id, and whoever answers for the fingerprint of
// the key that has to be the wanted one: the first question of a key exchange. The
// rest of it costs most of a second, and others of these tests do it.
func answeredBy(ctx context.Context, via dcs.Resolver, id int, want exchange.PublicKey) error {
	c, err := via.Primary(ctx, id, dcs.List{})
	if err != nil {
		return err
	}
	defer c.Close()
	var question, b bin.Buffer
	nonce := bin.Int128{1, 2, 3}
	if err := question.Encode(&mt.ReqPqMultiRequest{Nonce: nonce}); err != nil {
		return err
	}
	plain := proto.UnencryptedMessage{
		MessageID: int64(proto.NewMessageID(time.Now(), proto.MessageFromClient)), MessageData: question.Copy(),
	}
	if err := plain.Encode(&b); err != nil {
		return err
	}
	if err := c.Send(ctx, &b); err != nil {
		return err
	}
	if err := c.Recv(ctx, &b); err != nil {
		return err
	}
	if err := plain.Decode(&b); err != nil {
		return err
	}
	var answer mt.ResPQ
	if err := answer.Decode(&bin.Buffer{Buf: plain.MessageData}); err != nil {
		return err
	}
	if answer.Nonce != nonce || !slices.Contains(answer.ServerPublicKeyFingerprints, want.Fingerprint()) {
		return fmt.Errorf("got nonce %x and keys %x, want %x and %x", answer.Nonce, answer.ServerPublicKeyFingerprints, nonce, want.Fingerprint())
	}
	return nil
}
