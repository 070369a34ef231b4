package relay_test

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"
)

// layers say what each package of this module may import of this module, and
// why. The first pattern that matches a package holds. A package that matches
// only the last one is an inbound or another room above the flow.
var layers = []layer{
	{"relay/auth", nil,
		"auth is who may enter, and nothing else: no sockets, no protocols, so that it can be judged alone"},
	{"relay/transport", []string{"relay/auth"},
		"transport is the vocabulary that everything speaks; it knows users and no protocol"},
	{"relay/transport/hello", []string{"relay/transport"},
		"hello reads what every disguise in TLS is shown first; it knows none of them"},
	{"relay/transport/websocket", []string{"relay/transport"},
		"frames of WebSockets are of use to disguises and to inbounds; they know neither"},
	{"relay/transport/resolve", nil,
		"resolve asks for names, and for nothing else: what it knows of a network is handed in, so that it can be judged alone"},
	{"relay/transport/h2", []string{"relay/transport"},
		"h2 speaks HTTP/2 as it is told to; whose way of speaking that is, others know"},
	{"relay/transport/browser", []string{"relay/transport", "relay/transport/hello"},
		"browser is what a connection looks like: it knows streams and hellos, and neither users nor what is said inside"},
	{"relay/transport/web", []string{"relay/auth", "relay/transport", "relay/transport/hello", "relay/transport/websocket", "relay/transport/resolve", "relay/transport/browser", "relay/transport/h2"},
		"the web disguise speaks as a browser does, and asks for the names of its fronts"},
	{"relay/transport/*", []string{"relay/auth", "relay/transport", "relay/transport/hello", "relay/transport/websocket"},
		"a disguise stands alone: it must be usable, and testable, without the relay around it; parsing a ClientHello is shared, as two readers of one hello must not disagree"},
	{"relay/relay/splice", []string{"relay/auth", "relay/transport"},
		"splice lies below the flow: the flow hands pairs down and gets an end back"},
	{"relay/relay/policy", []string{"relay/auth", "relay/transport"},
		"policy lies below the flow: it judges targets and knows no client protocol"},
	{"relay/relay", []string{"relay/auth", "relay/transport", "relay/transport/hello", "relay/relay/splice", "relay/relay/policy"},
		"the flow asks candidates through their interface and gets settings handed in: it names no inbound, no disguise, no configuration; the form of a client hello is what every cover waits for"},
	{"relay/relay/config", []string{"relay/auth", "relay/transport", "relay/relay/policy"},
		"config reads a file; what the words mean, the rooms say, and cmd/relay brings them together"},
	{"relay/relay/admin", []string{"relay/auth", "relay/transport"},
		"admin answers through functions that cmd/relay hands in"},
	{"relay/relay/probe", nil,
		"probe is a stranger: what it knows of a relay it has learned over the network"},
	{"relay/relay/relaytest", []string{"relay/auth", "relay/transport", "relay/relay", "relay/relay/policy", "relay/relay/splice"},
		"test support must not pull in the parts that it tests"},
	{"relay/cmd/relay", []string{"relay/auth", "relay/transport", "relay/transport/*", "relay/relay", "relay/relay/*"},
		"cmd/relay is on top and lists the parts; test support stays out of the program"},
	{"relay/relay/site", []string{"relay/auth", "relay/transport", "relay/transport/h2", "relay/relay"},
		"the site has users' connections over HTTP/2 served by a server of ours; of what they carry it knows nothing"},
	{"relay/relay/*", []string{"relay/auth", "relay/transport", "relay/transport/websocket", "relay/relay", "relay/relay/policy", "relay/relay/splice"},
		"an inbound lies above the flow and beside the others: it must be possible to remove it with its folder and one line of wire.go"},
}

// testOnly are the packages that only _test files may import.
var testOnly = []string{"relay/relay/relaytest"}

func TestImports(t *testing.T) {
	for _, p := range packages(t) {
		i := slices.IndexFunc(layers, func(l layer) bool { return matches(l.pattern, p.ImportPath) })
		if i < 0 {
			t.Errorf("package %s: got no layer in imports_test.go, want one: say where on the path of a connection it stands", p.ImportPath)
			continue
		}
		rule := layers[i]
		for _, im := range p.Imports {
			if im != "relay" && !strings.HasPrefix(im, "relay/") {
				continue
			}
			if slices.Contains(testOnly, im) {
				t.Errorf("%s imports %s: got it in a file of the program, want it in _test files only", p.ImportPath, im)
				continue
			}
			if !slices.ContainsFunc(rule.may, func(m string) bool { return matches(m, im) }) {
				t.Errorf("%s imports %s: got an import that its layer does not have, want only %v.\n"+
					"Why: %s.\nMove the code to where it belongs, or hand the value in from above.",
					p.ImportPath, im, rule.may, rule.why)
			}
		}
	}
}

type layer struct {
	pattern string   // as in path.Match
	may     []string // patterns
	why     string
}

func matches(pattern, name string) bool {
	ok, err := path.Match(pattern, name)
	return ok && err == nil
}

type listed struct {
	ImportPath string
	Imports    []string
}

// packages are the packages of this module.
func packages(t *testing.T) (all []listed) {
	t.Helper()
	cmd := exec.Command("go", "list", "-e", "-json=ImportPath,Imports", "relay/...")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: got %v, %s, want a list", err, stderr.String())
	}
	dec := json.NewDecoder(strings.NewReader(string(out)))
	for {
		var p listed
		err := dec.Decode(&p)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("go list: got %v, want JSON", err)
		}
		all = append(all, p)
	}
	if len(all) < 10 {
		t.Fatalf("go list: got %d packages, want all of this module", len(all))
	}
	return all
}
