package config

import (
	"reflect"
	"slices"
	"strings"
	"testing"
)

// acme is a site with a certificate and lines of [cover.acme].
func acme(word, lines string) string {
	return "[cover]\nname='www.x.org'\nsite='/s'\ncertificate='" + word + "'\n[cover.acme]\n" + lines
}

func TestACMEFaults(t *testing.T) {
	for _, tt := range []struct{ name, src, want string }{
		{"acme without acme", acme("self-signed", "email='a@x.org'"), `r:5: cover.acme: only for certificate = "acme" (write`},
		{"acme of another", "[cover]\nforward='127.0.0.1:1'\nacme={email='a@x.org'}", `r:3: cover.acme: not for a cover that is forwarded`},
		{"acme at home", "[cover]\nname='localhost'\nsite='/s'\ncertificate='acme'", `r:2: cover.name: "localhost" is a name that no authority`},
		{"acme for a name at home", "[cover]\nname='www.x.org'\nnames=['x.org',\n'localhost']\nsite='/s'\ncertificate='acme'", `r:4: cover.names[1]: "localhost" is a name that no authority`},
		{"acme's mail", acme("acme", "email='a b@x.org'"), `r:6: cover.acme.email: "a b@x.org" is not an address for mail`},
		{"acme's authority", acme("acme", "ca=['https://x.org/dir',\n'http://x.org']"), `r:7: cover.acme.ca[1]: "http://x.org" is not the URL`},
		{"acme's root", acme("acme", "ca=['https://x.org/dir']\nca_root='ca.pem'"), `r:7: cover.acme.ca_root: "ca.pem" is not a full path`},
		{"root without authority", acme("acme", "ca_root='/ca.pem'"), `r:6: cover.acme.ca_root: the root of which authority?`},
		{"acme's hook", acme("acme", "dns_hook='./hook'"), `r:6: cover.acme.dns_hook: "./hook" is not a full path`},
		{"wildcard without hook", acme("acme", "wildcard=true"), `r:6: cover.acme.wildcard: needs a dns_hook`},
		{"wildcard of a domain", "[cover]\nname='x.org'\nsite='/s'\ncertificate='acme'\nacme={wildcard=true, dns_hook='/h'}", `r:5: cover.acme.wildcard: the name "x.org" has nothing in front`},
		{"acme's key", acme("acme", "e-mail='a@x.org'"), `r:6: cover.acme.e-mail: unknown key (did you mean "email"?)`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := faultsOf(t, tt.src)
			if len(got) != 1 || !strings.HasPrefix(got[0], tt.want) {
				t.Errorf("got %s, want one fault %s", strings.Join(got, "\n"), tt.want)
			}
		})
	}
}

// All of it is read, and read again from what Write has made of it.
func TestACME(t *testing.T) {
	src := "[cover]\nnames=['w.x.org']\n" + strings.TrimPrefix(acme("acme", "email='a@x.org'\nca=['https://ca.x.org/dir','https://two.x.org/']\nca_root='/ca.pem'\nwildcard=true\ndns_hook='/hook'"), "[cover]\n")
	c, faults := Parse("r", []byte(src), nil, nil)
	if faults != nil {
		t.Fatalf("got %v, want no fault", faults)
	}
	want := ACME{Email: "a@x.org", CA: []string{"https://ca.x.org/dir", "https://two.x.org/"}, CARoot: "/ca.pem", Wildcard: true, DNSHook: "/hook"}
	if !reflect.DeepEqual(c.Cover.ACME, want) || c.Cover.Certificate.Word != "acme" {
		t.Errorf("got %+v with certificate %q, want %+v with acme", c.Cover.ACME, c.Cover.Certificate.Word, want)
	}
	var b strings.Builder
	if err := c.Write(&b, nil); err != nil {
		t.Fatalf("write: got %v, want nil", err)
	}
	again, faults := Parse("r", []byte(b.String()), nil, nil)
	if faults != nil || !reflect.DeepEqual(again.Cover, c.Cover) {
		t.Errorf("read again: got %+v and %v, want %+v", again, faults, c.Cover)
	}
}

// Every way to write certificates and names is read, and read again from what
// Write has made of it.
func TestCoverNames(t *testing.T) {
	one, two := CertificateFiles{"/c", "/k"}, CertificateFiles{"/d", "/l"}
	for _, tt := range []struct {
		name, src   string
		hosts       []string
		certificate Certificate
	}{
		{"one", "name='x.org'\ncertificate={cert='/c',key='/k'}", []string{"x.org"}, Certificate{Files: []CertificateFiles{one}}},
		{"more", "name='x.org'\nnames=['y.org','z.org']\ncertificate=[{cert='/c',key='/k'},{cert='/d',key='/l'}]", []string{"x.org", "y.org", "z.org"}, Certificate{Files: []CertificateFiles{one, two}}},
		{"names only", "names=['y.org','z.org']\ncertificate='self-signed'", []string{"y.org", "z.org"}, Certificate{Word: "self-signed"}},
		{"an array of one", "names=['y.org']\ncertificate=[{cert='/d',key='/l'}]", []string{"y.org"}, Certificate{Files: []CertificateFiles{two}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			src := "[cover]\nsite='/s'\n" + tt.src
			for range 2 {
				c, faults := Parse("r", []byte(src), nil, nil)
				if faults != nil {
					t.Fatalf("%s: got %v, want no fault", src, faults)
				}
				if !slices.Equal(c.Cover.Hosts(), tt.hosts) || !reflect.DeepEqual(c.Cover.Certificate, tt.certificate) {
					t.Errorf("got %v with %+v, want %v with %+v", c.Cover.Hosts(), c.Cover.Certificate, tt.hosts, tt.certificate)
				}
				if !c.Cover.IsHost(strings.ToUpper(tt.hosts[0])) || c.Cover.IsHost("w.org") {
					t.Error("hosts: got the first unknown, or another known, want the other way round")
				}
				var b strings.Builder
				if err := c.Write(&b, nil); err != nil {
					t.Fatalf("write: got %v, want nil", err)
				}
				src = b.String()
			}
		})
	}
}
