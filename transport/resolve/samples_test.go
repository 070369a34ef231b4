package resolve

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"os"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// samples are the recorded answers of another program.
func samples(t testing.TB) [][]byte {
	t.Helper()
	text, err := os.ReadFile("testdata/unbound.hex")
	if err != nil {
		t.Fatal(err)
	}
	var out [][]byte
	for line := range bytes.Lines(text) {
		msg, err := hex.DecodeString(string(bytes.TrimSpace(line)))
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, msg)
	}
	return out
}

func TestSamples(t *testing.T) {
	want := []string{
		"[1.1.1.1] [] 300 <nil>",
		"[2606:4700:4700::1111] [] 300 <nil>",
		"[] [1 . [h3 h2] [1.1.1.1 2606:4700:4700::1111] 0005fe0d000178] 120 <nil>",
		"[] [0 front.test. [] [] ] 300 <nil>",
		"[] [] 0 the name has no address",
		"[] [] 0 the name has no address",
	}
	all := samples(t)
	if len(all) != len(want) {
		t.Fatalf("got %d samples, want %d", len(all), len(want))
	}
	for i, msg := range all {
		var p dnsmessage.Parser
		if _, err := p.Start(msg); err != nil {
			t.Fatal(err)
		}
		q, err := p.Question()
		if err != nil {
			t.Fatal(err)
		}
		r, err := parseAnswer(msg, q)
		var services []string
		for _, s := range r.services {
			services = append(services, fmt.Sprintf("%d %s %v %v %x", s.priority, s.target, s.alpn, s.hints, s.ech))
		}
		if got := fmt.Sprint(r.addrs, services, r.seconds, err); got != want[i] {
			t.Errorf("sample %d: got %s, want %s", i, got, want[i])
		}
		// No piece of an answer is one.
		for n := range msg {
			if r, err := parseAnswer(msg[:n], q); err == nil && n < len(msg)-11 {
				t.Errorf("sample %d: got %v from %d bytes of %d, want an error", i, r, n, len(msg))
			}
		}
	}
}

// RFC 9460, Section 2.2: one parameter without sense makes the record so.
func TestServiceParams(t *testing.T) {
	const mandatory, alpn, port, four, six = dnsmessage.SVCParamMandatory, dnsmessage.SVCParamALPN, dnsmessage.SVCParamPort, dnsmessage.SVCParamIPv4Hint, dnsmessage.SVCParamIPv6Hint
	for _, tt := range []struct {
		name   string
		params []dnsmessage.SVCParam
		ok     bool
	}{
		{"none", nil, true},
		{"all mandatory", []dnsmessage.SVCParam{param(mandatory, "\x00\x01\x00\x04"), param(alpn, "\x02h2"), param(four, "1234")}, true},
		{"mandatory, and not there", []dnsmessage.SVCParam{param(mandatory, "\x00\x03"), param(alpn, "\x02h2")}, false},
		{"mandatory itself", []dnsmessage.SVCParam{param(mandatory, "\x00\x00")}, false},
		{"mandatory twice", []dnsmessage.SVCParam{param(mandatory, "\x00\x01\x00\x01"), param(alpn, "\x02h2")}, false},
		{"mandatory out of order", []dnsmessage.SVCParam{param(mandatory, "\x00\x04\x00\x01"), param(alpn, "\x02h2"), param(four, "1234")}, false},
		{"mandatory and odd", []dnsmessage.SVCParam{param(mandatory, "\x00\x01\x00"), param(alpn, "\x02h2")}, false},
		{"nothing mandatory", []dnsmessage.SVCParam{param(mandatory, "")}, false},
		{"no protocols", []dnsmessage.SVCParam{param(alpn, "")}, false},
		{"an empty protocol", []dnsmessage.SVCParam{param(alpn, "\x02h2\x00")}, false},
		{"a protocol cut off", []dnsmessage.SVCParam{param(alpn, "\x03h2")}, false},
		{"no default with a value", []dnsmessage.SVCParam{param(alpn, "\x02h2"), param(dnsmessage.SVCParamNoDefaultALPN, "x")}, false},
		{"half a port", []dnsmessage.SVCParam{param(port, "x")}, false},
		{"no hints", []dnsmessage.SVCParam{param(four, "")}, false},
		{"hint cut off", []dnsmessage.SVCParam{param(four, "12345")}, false},
		{"long hint cut off", []dnsmessage.SVCParam{param(six, "0123456789abcde")}, false},
		{"no list", []dnsmessage.SVCParam{param(dnsmessage.SVCParamECH, "")}, false},
		{"list cut off", []dnsmessage.SVCParam{param(dnsmessage.SVCParamECH, "\x00\x05\xfe\x0d\x00\x02x")}, false},
		{"list of half a config", []dnsmessage.SVCParam{param(dnsmessage.SVCParamECH, "\x00\x02\xfe\x0d")}, false},
		{"not known here", []dnsmessage.SVCParam{param(0xff00, "x")}, true},
	} {
		if _, err := newService(dnsmessage.SVCBResource{Priority: 1, Target: dnsmessage.MustNewName("."), Params: tt.params}); (err == nil) != tt.ok {
			t.Errorf("%s: got %v, want accepted %t", tt.name, err, tt.ok)
		}
	}
	if _, err := newService(dnsmessage.SVCBResource{Target: dnsmessage.MustNewName("a."), Params: []dnsmessage.SVCParam{param(port, "x")}}); err != nil {
		t.Errorf("an alias: got %v, want its parameters ignored", err)
	}
}

// What a resolver must not be believed, one record or header at a time.
func TestHostileAnswers(t *testing.T) {
	name := dnsmessage.MustNewName("a.test.")
	q := dnsmessage.Question{Name: name, Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}
	var loop, many, chain []dnsmessage.Resource
	rr := func(owner string, body dnsmessage.ResourceBody) dnsmessage.Resource {
		return dnsmessage.Resource{Header: dnsmessage.ResourceHeader{Name: dnsmessage.MustNewName(owner), Class: dnsmessage.ClassINET, TTL: 1 << 31}, Body: body}
	}
	loop = append(loop, rr("a.test.", cname("b.test")), rr("b.test.", cname("a.test")))
	for i := range 2 * maxRecords {
		many = append(many, rr("a.test.", a(fmt.Sprintf("1.1.1.%d", i))))
	}
	owner := "a.test."
	for i := range maxAliases {
		next := fmt.Sprintf("c%d.test", i)
		chain = append(chain, rr(owner, cname(next)))
		owner = next + "."
	}
	chain = append(chain, rr(owner, a("1.1.1.1")))
	for _, tt := range []struct {
		name   string
		change func(m *dnsmessage.Message)
		want   string
	}{
		{"as it should be", func(m *dnsmessage.Message) { m.Answers = many[:1] }, "[1.1.1.0] 0 <nil>"},
		{"in capitals", func(m *dnsmessage.Message) { m.Answers = []dnsmessage.Resource{rr("A.TEST.", a("1.1.1.0"))} }, "[1.1.1.0] 0 <nil>"},
		{"a query", func(m *dnsmessage.Message) { m.Response = false }, "not a whole response"},
		{"cut off", func(m *dnsmessage.Message) { m.Truncated = true }, "not a whole response"},
		{"two questions", func(m *dnsmessage.Message) { m.Questions = append(m.Questions, q) }, "more than one question"},
		{"no question", func(m *dnsmessage.Message) { m.Questions = nil }, "the answer to another question"},
		{"another type", func(m *dnsmessage.Message) { m.Questions[0].Type = dnsmessage.TypeAAAA }, "the answer to another question"},
		{"another class", func(m *dnsmessage.Message) { m.Questions[0].Class = dnsmessage.ClassCHAOS }, "the answer to another question"},
		{"another's address", func(m *dnsmessage.Message) { m.Answers = []dnsmessage.Resource{rr("b.test.", a("6.6.6.6"))} }, "the name has no address"},
		{"another family", func(m *dnsmessage.Message) { m.Answers = []dnsmessage.Resource{rr("a.test.", a("2606::1"))} }, "the name has no address"},
		{"a loop", func(m *dnsmessage.Message) { m.Answers = loop }, "more than 8 aliases"},
		{"a long chain", func(m *dnsmessage.Message) { m.Answers = chain }, "more than 8 aliases"},
		{"a chain", func(m *dnsmessage.Message) {
			m.Answers = append([]dnsmessage.Resource{rr("a.test.", cname("c1.test"))}, chain[2:]...)
		}, "[1.1.1.1] 0 <nil>"},
		{"many", func(m *dnsmessage.Message) { m.Answers = many }, fmt.Sprintf("%d addresses", maxAddrs)},
	} {
		m := dnsmessage.Message{Header: dnsmessage.Header{Response: true}, Questions: []dnsmessage.Question{q}}
		tt.change(&m)
		msg, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		r, err := parseAnswer(msg, q)
		got := fmt.Sprint(r.addrs, r.seconds, err)
		if len(r.addrs) > 2 {
			got = fmt.Sprintf("%d addresses", len(r.addrs))
		}
		if err != nil {
			got = err.Error()
		}
		if got != tt.want && !(err != nil && bytes.HasSuffix([]byte(got), []byte(tt.want))) {
			t.Errorf("%s: got %s, want %s", tt.name, got, tt.want)
		}
	}
}
