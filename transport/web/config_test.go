package web

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// TestReadSecret has files with a secret, and what is none.
func TestReadSecret(t *testing.T) {
	for _, tt := range []struct {
		name, content string
		mode          os.FileMode
		open          bool
		want          string // of the error, if it is one
	}{
		{"a line", " 0123456789abcdef\r\n", 0o600, false, ""},
		{"a group's", "0123456789abcdef", 0o640, false, ""},
		{"everybody's", "0123456789abcdef", 0o644, true, ""},
		{"as long as may be", strings.Repeat("x", mostSecretFile), 0o600, false, ""},
		{"too long", strings.Repeat("x", mostSecretFile+1), 0o600, false, "at most 4096 bytes"},
		{"empty", "", 0o600, false, "shorter than 16"},
		{"short", "   0123456789abcde      ", 0o600, false, "shorter than 16"},
		{"two lines", "0123456789abcdef\n0123456789abcdef", 0o600, false, "one line"},
	} {
		file := filepath.Join(t.TempDir(), "secret")
		if err := os.WriteFile(file, []byte(tt.content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(file, tt.mode); err != nil {
			t.Fatal(err)
		}
		c := &Config{SecretHeader: "X-Secret", SecretFile: file}
		open, err := c.ReadSecret()
		if tt.want != "" {
			if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "0123") {
				t.Errorf("%s: got %v, want an error with %q and without the secret", tt.name, err, tt.want)
			}
			continue
		}
		if got := c.Origin(nil).Secret; err != nil || got != strings.TrimSpace(tt.content) || open != tt.open {
			t.Errorf("%s: got %d characters, open %v, %v, want %d, open %v", tt.name, len(got), open, err, len(strings.TrimSpace(tt.content)), tt.open)
		}
		// What a reload compares: the file may say something else by then.
		if reflect.DeepEqual(c, &Config{SecretHeader: "X-Secret", SecretFile: file}) {
			t.Errorf("%s: a secret does not tell one configuration from another", tt.name)
		}
	}
	for _, file := range []string{t.TempDir(), filepath.Join(t.TempDir(), "none")} {
		if _, err := (&Config{SecretFile: file}).ReadSecret(); err == nil {
			t.Errorf("%s: got no error", file)
		}
	}
}
