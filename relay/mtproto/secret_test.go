package mtproto

import (
	"slices"
	"strings"
	"testing"
)

var vectorKey = [SecretSize]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}

func TestSecret(t *testing.T) {
	for _, tt := range []struct {
		kind Kind
		name string
		want string
	}{
		{KindSimple, "", "000102030405060708090a0b0c0d0e0f"},
		{KindSimple, "ignored.example", "000102030405060708090a0b0c0d0e0f"},
		{KindPadded, "", "dd000102030405060708090a0b0c0d0e0f"},
		{KindFakeTLS, "example.org", "ee000102030405060708090a0b0c0d0e0f6578616d706c652e6f7267"},
		{"other", "", ""},
	} {
		if got := Secret(tt.kind, vectorKey, tt.name); got != tt.want {
			t.Errorf("Secret(%s, %q): got %s, want %s", tt.kind, tt.name, got, tt.want)
		}
	}
}

func TestParseSecret(t *testing.T) {
	const long = "ee000102030405060708090a0b0c0d0e0f"
	for _, tt := range []struct {
		text string
		kind Kind // "": refused
		name string
	}{
		{"000102030405060708090a0b0c0d0e0f", KindSimple, ""},
		{"000102030405060708090A0B0C0D0E0F", KindSimple, ""},
		{"AAECAwQFBgcICQoLDA0ODw", KindSimple, ""},
		{"AAECAwQFBgcICQoLDA0ODw==", KindSimple, ""},
		{"dd000102030405060708090a0b0c0d0e0f", KindPadded, ""},
		{"3QABAgMEBQYHCAkKCwwNDg8", KindPadded, ""},
		{"3QABAgMEBQYHCAkKCwwNDg8=", KindPadded, ""},
		{"ee000102030405060708090a0b0c0d0e0f6578616d706c652e6f7267", KindFakeTLS, "example.org"},
		{"7gABAgMEBQYHCAkKCwwNDg9leGFtcGxlLm9yZw", KindFakeTLS, "example.org"},
		{"7gABAgMEBQYHCAkKCwwNDg9leGFtcGxlLm9yZw==", KindFakeTLS, "example.org"},
		{"7gABAgMEBQYHCAkKCwwNDg8/Pz8+Pj4=", KindFakeTLS, "???>>>"}, // base64, not of URLs
		{"7gABAgMEBQYHCAkKCwwNDg8_Pz8-Pj4", KindFakeTLS, "???>>>"},
		{long + "61", KindFakeTLS, "a"},
		{long + strings.Repeat("61", 182), KindFakeTLS, strings.Repeat("a", 182)},

		{"", "", ""},
		{"00", "", ""},
		{"000102030405060708090a0b0c0d0e", "", ""},     // 15 bytes
		{"000102030405060708090a0b0c0d0e0f10", "", ""}, // 17, and not dd
		{long, "", ""}, // no name
		{long + strings.Repeat("61", 183), "", ""},       // too long a name
		{"dd000102030405060708090a0b0c0d0e0f10", "", ""}, // 18, and not ee
		{"000102030405060708090a0b0c0d0e0f ", "", ""},
		{"000102030405060708090a0b0c0d0e0f\n", "", ""},
		{"AAECAwQFBgcICQoL\nDA0ODw", "", ""},
		{"AAECAwQFBgcICQoLDA0ODw=", "", ""},           // half of the padding
		{"AAECAwQFBgcICQoLDA0ODx", "", ""},            // bits that stand for nothing
		{"7gABAgMEBQYHCAkKCwwNDg8/Pz8-Pj4=", "", ""},  // two alphabets
		{"7gABAgMEBQYHCAkKCwwNDg8/Pz8+Pj4x/", "", ""}, // base64 wants its padding
		{strings.Repeat("a", 1<<20), "", ""},
	} {
		kind, key, name, err := ParseSecret(tt.text)
		if kind != tt.kind || name != tt.name || (err == nil) != (tt.kind != "") {
			t.Errorf("ParseSecret(%.60q): got %q, %q, %v, want %q, %q", tt.text, kind, name, err, tt.kind, tt.name)
		}
		if err == nil && key != vectorKey {
			t.Errorf("ParseSecret(%.60q): got key %x, want %x", tt.text, key, vectorKey)
		}
		if err != nil && len(tt.text) > 2 && strings.Contains(err.Error(), tt.text[:3]) {
			t.Errorf("ParseSecret(%.60q): got %v, want nothing of the secret in it", tt.text, err)
		}
	}
}

func TestLinks(t *testing.T) {
	secret := Secret(KindPadded, vectorKey, "")
	for _, tt := range []struct {
		server string
		port   uint16
		want   string
	}{
		{"www.example.org", 443, "server=www.example.org&port=443&secret=dd000102030405060708090a0b0c0d0e0f"},
		{"203.0.113.5", 8443, "server=203.0.113.5&port=8443&secret=dd000102030405060708090a0b0c0d0e0f"},
		{"2001:db8::5", 1, "server=2001%3Adb8%3A%3A5&port=1&secret=dd000102030405060708090a0b0c0d0e0f"},
		{"[2001:db8::5]", 65535, "server=2001%3Adb8%3A%3A5&port=65535&secret=dd000102030405060708090a0b0c0d0e0f"},
	} {
		want := []string{"tg://proxy?" + tt.want, "https://t.me/proxy?" + tt.want}
		if got := Links(tt.server, tt.port, secret); !slices.Equal(got, want) {
			t.Errorf("Links(%s, %d): got %q, want %q", tt.server, tt.port, got, want)
		}
	}
}
