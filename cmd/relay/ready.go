package main

import (
	"fmt"
	"io"
	"strings"

	"relay/auth"
)

// readyLines writes one line for each listener and inbound, for programs that
// started the relay. With a record it holds that user's password: quickstart
// shows it to the person at the keyboard, serve does not, since its output
// usually ends up in a log.
func (in *instance) readyLines(w io.Writer, r *auth.Record) error {
	k := in.linker()
	var b strings.Builder
	for i, l := range k.listens {
		ap := k.address(i)
		for _, word := range l.Inbounds {
			for _, p := range parts {
				if p.name != word {
					continue
				}
				a := access{host: ap.Addr().String(), port: ap.Port()}
				if r != nil && l.Anonymous == "" {
					a.user, a.password = r.Name, r.Password(k.users.Realm(), p.label)
				}
				scheme := p.scheme
				if l.Origin {
					scheme = "http"
				}
				fmt.Fprintf(&b, "ready %s %s\n", p.name, a.url(scheme))
			}
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}
