package resolve

import (
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// FuzzAnswer reads answers of a hostile server. None may make it panic, give more
// than its bounds or an answer with nothing in it.
func FuzzAnswer(f *testing.F) {
	name := dnsmessage.MustNewName("front.test.")
	z := zone{
		"front.test CNAME": {cname("b.test")},
		"b.test A":         {a("1.1.1.1"), a("127.0.0.1")},
		"b.test AAAA":      {a("::ffff:1.1.1.1")},
		"b.test HTTPS": {
			https(0, "c.test."),
			https(1, ".", param(dnsmessage.SVCParamMandatory, "\x00\x01"), param(dnsmessage.SVCParamALPN, "\x02h2"), param(dnsmessage.SVCParamPort, "\x01\xbb"),
				param(dnsmessage.SVCParamIPv4Hint, "\x01\x01\x01\x01"), ech(1), param(dnsmessage.SVCParamIPv6Hint, "0123456789abcdef")),
		},
	}
	kinds := []dnsmessage.Type{dnsmessage.TypeA, dnsmessage.TypeAAAA, dnsmessage.TypeHTTPS}
	for i, kind := range kinds {
		query, err := newQuery(name, kind)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint8(i), z.answer(f, query))
		f.Add(uint8(i), query)
	}
	for i, msg := range samples(f) {
		f.Add(uint8(i), msg)
	}
	f.Fuzz(func(t *testing.T, i uint8, msg []byte) {
		kind := kinds[int(i)%len(kinds)]
		r, err := parseAnswer(msg, dnsmessage.Question{Name: name, Type: kind, Class: dnsmessage.ClassINET})
		if err != nil {
			return
		}
		if len(r.addrs) > maxAddrs || len(r.services) > maxRecords {
			t.Errorf("got %d addresses and %d services, want bounds", len(r.addrs), len(r.services))
		}
		if len(r.addrs)+len(r.services) == 0 {
			t.Error("got an answer with nothing in it, want an error")
		}
		for _, s := range r.services {
			if s.ech != nil && CheckECH(s.ech) != nil || len(s.hints) > 2*maxAddrs {
				t.Errorf("got a list %x and %d hints, want them judged", s.ech, len(s.hints))
			}
		}
		if b := best(r.services); b != nil && !b.alias() && !b.usable() {
			t.Errorf("got %+v as the best, want one that can be used", b)
		}
	})
}

func FuzzServer(f *testing.F) {
	for _, s := range []string{"https://1.1.1.1/dns-query", "https://dns.example/dns-query{?dns}#192.0.2.1,2001:db8::1", "https://[::1]:8443/#::1", "https://a%zz/"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ParseServer(text)
		if err != nil {
			return
		}
		if len(s.Addrs) == 0 || len(s.Addrs) > maxServerAddrs {
			t.Errorf("%q: got %d addresses, want 1 to %d", text, len(s.Addrs), maxServerAddrs)
		}
		if back, err := ParseServer(s.String()); err != nil || back.String() != s.String() {
			t.Errorf("%q: got %v, %v from %q, want the same", text, back, err, s.String())
		}
	})
}
