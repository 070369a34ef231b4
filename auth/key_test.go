package auth

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

// pattern is a key of n, n+1, n+2, …
func pattern(n byte) Key {
	var b [keySize]byte
	for i := range b {
		b[i] = n + byte(i)
	}
	return keyFrom(b[:])
}

// rfc5869 derives at most 32 bytes, written from the RFC and not from the
// library that the package uses.
func rfc5869(key, salt, info []byte, n int) []byte {
	mac := func(key, b []byte) []byte {
		m := hmac.New(sha256.New, key)
		m.Write(b)
		return m.Sum(nil)
	}
	return mac(mac(salt, key), append(bytes.Clone(info), 1))[:n]
}

func TestCredentialVectors(t *testing.T) {
	key, realm := pattern(0), pattern(100)
	for _, tt := range []struct {
		name, label string
		generation  uint32
		hex         string // pinned: links that are out must go on working
	}{
		{"socks5, first", "socks5", 0, "9a10b4269ccd8d2a8727fd32fef47a"},
		{"socks5, second", "socks5", 1, "3c4bad9981633ae566e6513daa17d3"},
		{"http, large generation", "http", 0x01020304, "70bbc6b62dcfc2f659bb04c0a3381d"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := tt.generation
			info := append([]byte("relay/1"+tt.label), byte(g>>24), byte(g>>16), byte(g>>8), byte(g))
			want := rfc5869(key.bytes(), realm.bytes(), info, 15)
			if got := hex.EncodeToString(want); got != tt.hex {
				t.Errorf("by RFC 5869: got %s, want %s", got, tt.hex)
			}
			if got := key.Credential(realm, tt.label, g, 15); !bytes.Equal(got, want) {
				t.Errorf("got %x, want %x", got, want)
			}
			text := strings.ToLower(base32.StdEncoding.EncodeToString(want))
			if got := key.Password(realm, tt.label, g); got != text {
				t.Errorf("got password %q, want %q", got, text)
			}
		})
	}
}

func TestCredentialSeparation(t *testing.T) {
	seen := make(map[string]string)
	for i, key := range []Key{pattern(0), pattern(1)} {
		for j, realm := range []Key{pattern(2), pattern(3)} {
			for _, label := range []string{"socks5", "socks", "http", ""} {
				for _, g := range []uint32{0, 1, 256, 1 << 31} {
					what := fmt.Sprintf("key %d, realm %d, label %q, generation %d", i, j, label, g)
					p := key.Password(realm, label, g)
					if old, ok := seen[p]; ok || len(p) != 24 {
						t.Errorf("%s: got %q as for %q, want 24 characters of its own", what, p, old)
					}
					seen[p] = what
				}
			}
		}
	}
	for name, got := range map[string][]byte{
		"no key": Key{}.Credential(pattern(1), "http", 0, 15), "no realm": pattern(1).Credential(Key{}, "http", 0, 15),
		"too long": pattern(1).Credential(pattern(2), "http", 0, 255*32+1),
	} {
		if got != nil {
			t.Errorf("%s: got %x, want nothing", name, got)
		}
	}
}

// forms are the ways in which a value can get into text.
func forms(t *testing.T, v any) map[string]string {
	t.Helper()
	out := make(map[string]string)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x", "%X", "%o", "%c", "%U", "%t"} {
		out[verb] = fmt.Sprintf(verb, v)
	}
	var text, js strings.Builder
	slog.New(slog.NewTextHandler(&text, nil)).Info("m", "v", v)
	slog.New(slog.NewJSONHandler(&js, nil)).Info("m", "v", v)
	out["slog text"], out["slog json"] = text.String(), js.String()
	if b, err := json.Marshal(v); err == nil {
		out["json"] = string(b)
	}
	return out
}

func TestSecretsAreNotPrinted(t *testing.T) {
	const explicit = "hunter2hunter2"
	k := pattern(0x41) // "ABC…": also readable as text
	r := Record{ID: 1, Name: "alice", Key: k, Explicit: map[string]string{"http": explicit}}
	type hidden struct{ k Key }
	leaks := []string{"ABCDEF", explicit, hex.EncodeToString([]byte(explicit)), strings.ToUpper(hex.EncodeToString([]byte(explicit))),
		"65 66 67", "0x41", "414243", "101 102 103", "QUJDREVG"}
	for name, v := range map[string]any{
		"key": k, "pointer to key": &k, "keys": []Key{k}, "map": map[string]Key{"k": k}, "struct": struct{ K Key }{k},
		"unexported field": hidden{k}, "record": r, "pointer to record": &r, "records": []Record{r},
		"store": &Store{realm: k}, "users": struct{ U *Users }{&Users{ipKey: k, dummy: k}}, "user": User{ID: 1, Name: "alice"},
	} {
		for how, got := range forms(t, v) {
			for _, l := range leaks {
				if strings.Contains(got, l) {
					t.Errorf("%s by %s: got %q, want no secret", name, how, got)
				}
			}
		}
	}
	if got := fmt.Sprint(k); got != "[secret]" {
		t.Errorf("got %q, want %q", got, "[secret]")
	}
	if bytes.Equal(NewKey().bytes(), NewKey().bytes()) {
		t.Error("got the same key twice, want another each time")
	}
}
