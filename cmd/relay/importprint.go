package main

import (
	"fmt"
	"io"
	"strings"

	"relay/relay/mtproto"
)

// write is the plan, or what was done, for people.
func (p *importPlan) write(w io.Writer) error {
	var b strings.Builder
	for _, f := range p.from {
		fmt.Fprintf(&b, "%s: %s, %s\n", f.File, f.Program, count(len(f.Users), "user"))
	}
	made, moved := p.writeUsers(&b)
	if len(p.Lost) > 0 {
		b.WriteString("\nNot carried over:\n")
		for _, l := range p.Lost {
			fmt.Fprintf(&b, "  %s: %s.\n", l.File, l.What)
		}
	}
	if p.Lines != "" {
		b.WriteString("\nFor relay.toml (where a table is there already, put the keys into it):\n\n")
		for line := range strings.Lines(p.Lines + "\n") {
			b.WriteString(strings.TrimRight("  "+line, " \n") + "\n")
		}
	}
	p.writeRefusals(&b, moved)
	b.WriteString("\n")
	p.writeWorking(&b)
	switch {
	case p.Refused && p.DryRun:
		b.WriteString("Nothing was done. Without --dry-run this import is refused.\n")
	case p.DryRun:
		fmt.Fprintf(&b, "Nothing was done. Without --dry-run this makes %s.\n", count(made, "user"))
	case p.Done:
		fmt.Fprintf(&b, "Made %s. See: relay user list\n", count(made, "user"))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// writeWorking says whose links go on working, and where.
func (p *importPlan) writeWorking(b *strings.Builder) {
	off := 0
	for _, u := range p.Users {
		if u.off() {
			off++
		}
	}
	if p.Refused || off == len(p.Users) {
		return
	}
	b.WriteString("The links go on working where the server in them leads to this relay")
	if len(p.Ports) > 0 {
		fmt.Fprintf(b, ", on port %s", joined(p.Ports))
	}
	b.WriteString(".\n")
	if len(p.missingPorts) > 0 {
		fmt.Fprintf(b, "No listener here has mtproto on port %s: until one has, or something passes that port on to one, they do not.\n", joined(p.missingPorts))
	}
	if len(p.missingKinds) > 0 {
		fmt.Fprintf(b, "Those with %s secrets do not: secrets below [mtproto] lacks %[1]s.\n", joined(p.missingKinds))
	}
	if p.noBare {
		fmt.Fprintf(b, "Those with a bare secret, without dd before it, do not: secrets below [mtproto] lacks %s.\n", mtproto.KindSimple)
	}
	if off > 0 {
		fmt.Fprintf(b, "Those of %s who are not served do not; for who is disabled: relay user enable NAME.\n", count(off, "user"))
	}
}

// off reports whether the user is not served here.
func (u *importedUser) off() bool {
	if u.Known && !u.twin {
		return u.State != ""
	}
	return u.Disabled
}

// writeRefusals says why nobody would be imported, and what to do.
func (p *importPlan) writeRefusals(b *strings.Builder, moved int) {
	if moved > 0 {
		fmt.Fprintf(b, "\nNo room under their server name: %s. Their old links would end: leave them out, or make room with relay user remove NAME.\n", count(moved, "user"))
	}
	elsewhere := 0
	for _, u := range p.Users {
		if u.Elsewhere != "" {
			elsewhere++
		}
	}
	if elsewhere > 0 {
		fmt.Fprintf(b, "\nThe same secret under another server name: %s. It is found under one name only, so links that say the other do not work: "+
			"leave these users out, or end the links that are here with relay user rotate NAME --only %s.\n", count(elsewhere, "user"), mtproto.Label)
	}
}

func (p *importPlan) writeUsers(b *strings.Builder) (made, moved int) {
	b.WriteString("\n")
	for _, u := range p.Users {
		var notes []string
		if u.There != "" && (u.There != u.wish || u.Known && u.There != u.Name) {
			notes = append(notes, fmt.Sprintf("there %q", u.There))
		}
		switch {
		case u.twin:
			notes = append(notes, "has the same secret, so that both are one user")
		case u.Known:
			notes = append(notes, "is here already, with this secret")
		case u.Name != u.wish:
			notes = append(notes, u.wish+" is taken")
		}
		switch {
		case u.Elsewhere != "":
			notes = append(notes, "under "+u.Elsewhere+" and not "+u.Under)
		case u.Under != "":
			notes = append(notes, "under "+u.Under)
		}
		switch {
		case u.Known && u.State != "":
			notes = append(notes, u.State+" here")
		case u.Disabled && !u.Known:
			notes = append(notes, "disabled")
		}
		if u.Moved {
			notes = append(notes, "where there is no room")
			moved++
		}
		if !u.Known {
			made++
		}
		fmt.Fprintf(b, "  %s\n", strings.TrimSuffix(u.Name+": "+strings.Join(notes, ", "), ": "))
	}
	return made, moved
}

// joined are words or numbers in a list.
func joined[T any](of []T) string {
	out := make([]string, len(of))
	for i, v := range of {
		out[i] = fmt.Sprint(v)
	}
	return strings.Join(out, ", ")
}
