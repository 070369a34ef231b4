package config

import (
	"fmt"
	"net"
	"runtime"
	"strings"
	"testing"
)

// Two addresses are a fault where the system refuses the second, as it says here.
func TestAddressesThatMeet(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("about Linux")
	}
	hasIPv6 := false
	if l, err := net.Listen("tcp6", "[::1]:0"); err == nil {
		hasIPv6 = true
		_ = l.Close()
	}
	for _, tt := range []struct {
		a, b   string
		faulty bool
	}{
		{"0.0.0.0", "127.0.0.1", true},
		{"127.0.0.1", "0.0.0.0", true},
		{"[::]", "[::1]", true},
		{"[::1]", "[::]", true},
		{"0.0.0.0", "[::1]", false},
		{"127.0.0.1", "[::1]", false},
		{"127.0.0.1", "127.0.0.2", false},
	} {
		if !hasIPv6 && strings.Contains(tt.a+tt.b, "[") {
			continue
		}
		first, err := net.Listen(familyOf(tt.a), tt.a+":0")
		if err != nil {
			t.Fatal(err)
		}
		port := first.Addr().(*net.TCPAddr).Port
		second, err := net.Listen(familyOf(tt.b), fmt.Sprintf("%s:%d", tt.b, port))
		if (err != nil) != tt.faulty {
			t.Errorf("%s and %s: the system says %v, want an error: %t", tt.a, tt.b, err, tt.faulty)
		}
		_ = first.Close()
		if err == nil {
			_ = second.Close()
		}
		src := fmt.Sprintf("[[listen]]\naddress='%s:%d'\ninbounds=['web']\n[[listen]]\naddress='%s:%d'\ninbounds=['web']", tt.a, port, tt.b, port)
		_, faults := Parse("r", []byte(src), []string{"web"}, nil)
		want := fmt.Sprintf(`r:5: listen[1].address: "%s:%d" and "%s:%d" of listen[0] in line 2 cannot both be listened on`, tt.b, port, tt.a, port)
		if (faults != nil) != tt.faulty || faults != nil && !strings.Contains(faults.Error(), want) {
			t.Errorf("%s and %s: got %v, want %q: %t", tt.a, tt.b, faults, want, tt.faulty)
		}
	}
}

func familyOf(host string) string {
	if strings.HasPrefix(host, "[") {
		return "tcp6"
	}
	return "tcp4"
}

// The metrics and the port for plain HTTP are at addresses as well.
func TestAddressesOfOthers(t *testing.T) {
	src := "admin.metrics='127.0.0.1:9090'\n[[listen]]\naddress='0.0.0.0:9090'\ninbounds=['web']\n[[listen]]\naddress='[::]:9090'\ninbounds=['web']"
	_, faults := Parse("r", []byte(src), []string{"web"}, nil)
	want := `r:1: admin.metrics: "127.0.0.1:9090" and "0.0.0.0:9090" of listen[0] in line 3 cannot both be listened on`
	if runtime.GOOS == "linux" && (len(faults) != 1 || !strings.Contains(faults.Error(), want)) {
		t.Errorf("got %v, want %q alone", faults, want)
	}
}
