package site

import (
	"bytes"
	"crypto/tls"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestSelfSigned(t *testing.T) {
	file := filepath.Join(t.TempDir(), "self-signed.pem")
	make := func(names ...string) []*tls.Certificate {
		t.Helper()
		list, err := selfSigned(names, file)
		if err != nil || len(list) != len(names) {
			t.Fatalf("%v: got %d certificates, %v, want one for each", names, len(list), err)
		}
		for i, name := range names {
			if err := list[i].Leaf.VerifyHostname(name); err != nil {
				t.Errorf("name: got %v, want nil", err)
			}
		}
		return list
	}
	first := make(siteName)[0]
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("file: got %v, %v, want mode 0600", info.Mode(), err)
	}
	same := func(what string, got, want *tls.Certificate) {
		t.Helper()
		if !bytes.Equal(got.Certificate[0], want.Certificate[0]) {
			t.Errorf("%s: got another certificate, want the same", what)
		}
	}
	same("again", make(siteName)[0], first)
	both := make(otherName, siteName)
	same("a name more", both[1], first)
	if both[0].Leaf.VerifyHostname(siteName) == nil {
		t.Error("a name more: got its certificate for both, want one each")
	}
	again := make(siteName, otherName)
	same("the other way round", again[0], both[1])
	same("the other way round", again[1], both[0])
	make("third.example")
	same("a name that was left out for a while", make(siteName)[0], first)
	for _, broken := range []string{"rubbish", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"} {
		if err := os.WriteFile(file, []byte(broken), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := selfSigned([]string{siteName}, file); err == nil || !strings.Contains(err.Error(), file) || !strings.Contains(err.Error(), "remove it") {
			t.Errorf("broken: got %v, want an error that says what to do with which file", err)
		}
	}
	long := strings.Repeat("a.", 100) + "example"
	if _, err := selfSigned([]string{long}, ""); err != nil {
		t.Errorf("long name, in memory: got %v, want nil", err)
	}
}
