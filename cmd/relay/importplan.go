package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"relay/relay/admin"
	"relay/relay/config"
	"relay/relay/mtproto"
	"relay/transport/faketls"
)

// importPlan is what an import does, and what it needs. It holds no secret but
// in from, which is not printed.
type importPlan struct {
	DryRun bool `json:"dry_run"`
	Done   bool `json:"done"` // the users are there
	// Refused says, of a look, that nobody would be imported.
	Refused bool           `json:"refused,omitempty"`
	Users   []importedUser `json:"users"`
	Lines   string         `json:"lines,omitempty"` // for the configuration
	Lost    []lostThing    `json:"lost,omitempty"`
	Server  []string       `json:"servers,omitempty"` // hosts that the links name, where known
	Ports   []uint16       `json:"ports,omitempty"`   // that the links name

	from         []*foreign
	missingNames []string
	crowded      []string // names with more users than fit under one
	noListener   bool
}

// importedUser is one user of a file.
type importedUser struct {
	File  string `json:"file"`
	There string `json:"there,omitempty"` // that program's name for the user, where it has one
	Name  string `json:"name"`            // here
	Known bool   `json:"known,omitempty"`
	Under string `json:"under,omitempty"` // the server name in ee links
	// Disabled says that the user is not served there, and so not here.
	Disabled bool `json:"disabled,omitempty"`
	// Moved says that there is no room under that name: the ee links end.
	Moved bool `json:"moved,omitempty"`
	// Elsewhere is the server name of who is known under another than Under.
	Elsewhere string `json:"elsewhere,omitempty"`

	wish string // the name here, if nobody has it
	twin bool   // known as another of this import
}

type lostThing struct {
	File string `json:"file"`
	What string `json:"what"`
}

// newImportPlan compares files with the configuration of this relay.
func newImportPlan(all []*foreign, cfg *config.Config, tabs []config.Table) *importPlan {
	p := &importPlan{Users: []importedUser{}, from: all, noListener: true}
	options := optionsOf("mtproto", tabs).(*mtproto.Options)
	var listens []config.Listen
	for _, l := range cfg.Listen {
		if slices.Contains(l.Inbounds, "mtproto") {
			listens, p.noListener = append(listens, l), false
		}
	}
	names := mtprotoNames(cfg, options)
	var kinds []mtproto.Kind
	under := make(map[string]int)
	for _, f := range all {
		for _, u := range f.Users {
			if !u.Disabled {
				under[u.Server]++
			}
			if u.Server != "" && under[u.Server] > faketls.MaxCandidates && !slices.Contains(p.crowded, u.Server) {
				p.crowded = append(p.crowded, u.Server)
			}
			p.Users = append(p.Users, importedUser{File: f.File, There: u.There, Name: u.Name, Under: u.Server, Disabled: u.Disabled, wish: u.Name})
			if u.Server != "" && !slices.Contains(names, u.Server) && !slices.Contains(p.missingNames, u.Server) {
				p.missingNames = append(p.missingNames, u.Server)
			}
		}
		for _, what := range f.Lost {
			p.Lost = append(p.Lost, lostThing{f.File, what})
		}
		kinds = append(kinds, f.Kinds...)
		p.Ports = append(p.Ports, f.Ports...)
		p.Server = append(p.Server, f.Public...)
	}
	slices.Sort(p.Ports)
	p.Ports = slices.Compact(p.Ports)
	p.lines(listens, names, options, kinds)
	p.coverLines(&cfg.Cover)
	return p
}

// lines are what the configuration lacks.
func (p *importPlan) lines(listens []config.Listen, names []string, o *mtproto.Options, kinds []mtproto.Kind) {
	var b strings.Builder
	for _, port := range p.Ports {
		if slices.ContainsFunc(listens, func(l config.Listen) bool { return strings.HasSuffix(l.Address, ":"+strconv.Itoa(int(port))) }) {
			continue
		}
		fmt.Fprintf(&b, "[[listen]]\naddress  = \"0.0.0.0:%d\"\n", port)
		if len(p.Server) > 0 {
			fmt.Fprintf(&b, "public   = %s\n", quotedList(p.Server))
		} else {
			b.WriteString("public   = [\"…\"]   # the server in the old links\n")
		}
		b.WriteString("inbounds = [\"mtproto\"]\n\n")
	}
	var have, want []string
	for _, k := range o.Kinds() {
		have = append(have, string(k))
	}
	want = slices.Clone(have)
	for _, k := range kinds {
		if !slices.Contains(want, string(k)) {
			want = append(want, string(k))
		}
	}
	if len(p.missingNames) > 0 || len(want) > len(have) {
		b.WriteString("[mtproto]\n")
		if len(want) > len(have) {
			fmt.Fprintf(&b, "secrets = %s\n", quotedList(want))
		}
		if len(p.missingNames) > 0 {
			fmt.Fprintf(&b, "names   = %s\n", quotedList(append(slices.Clone(names), p.missingNames...)))
		}
	}
	p.Lines = strings.TrimSpace(b.String())
}

// coverLines are what the cover lacks: a prober asks it for the names that links
// show to the network.
func (p *importPlan) coverLines(c *config.Cover) {
	var strange []string // to a site in this process
	for _, u := range p.Users {
		if u.Under != "" && !c.IsHost(u.Under) && !slices.Contains(strange, u.Under) {
			strange = append(strange, u.Under)
		}
	}
	text := ""
	switch {
	case !c.Set() && len(p.missingNames) > 0:
		// All of these programs hand strangers to the site that they name.
		text = fmt.Sprintf("[cover]   # what strangers see, or a site of your own\nforward = %q", p.missingNames[0]+":443")
		if len(p.missingNames) > 1 {
			text += "   # or a server that has certificates for all of these names"
		}
	case c.Forward != "" && len(p.missingNames) > 0:
		text = fmt.Sprintf("# The server at %s, to which [cover] forwards, needs a certificate for %s.", c.Forward, strings.Join(p.missingNames, ", "))
	case c.Set() && c.Forward == "" && len(strange) > 0:
		text = fmt.Sprintf(`[cover]
names   = %s
# That is for names of yours, which lead to this machine: each needs a certificate. For the
# name of somebody else's site write, in place of site or proxy, certificate and http:
# forward = %q`, quotedList(append(slices.Clone(c.Names), strange...)), strange[0]+":443")
	}
	p.Lines = strings.TrimSpace(p.Lines + "\n\n" + text)
}

func quotedList(words []string) string {
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = strconv.Quote(w)
	}
	return "[" + strings.Join(out, ", ") + "]"
}

// settle notes what the relay says of the users.
func (p *importPlan) settle(out []admin.Imported) {
	made := make(map[string]*importedUser) // by their names here
	for i, o := range out {
		u := &p.Users[i]
		u.Name, u.Known = o.As, o.Known
		p.Done = !p.DryRun
		at := o.Places[mtproto.Label]
		other := u.Under != "" && at != u.Under
		switch {
		case !u.Known:
			u.Moved = other && !slices.Contains(p.missingNames, u.Under)
			made[u.Name] = u
		case other:
			u.Elsewhere = cmp.Or(at, "no name")
		}
		p.Refused = p.Refused || u.Moved || u.Elsewhere != ""
		if first := made[u.Name]; u.Known && first != nil {
			u.twin = true
			first.Disabled = first.Disabled && u.Disabled
			p.loseTwin(u, first)
		}
	}
}

// loseTwin tells about somebody who has the secret of another user of the import.
func (p *importPlan) loseTwin(u, first *importedUser) {
	if u.There == "" {
		return
	}
	other := cmp.Or(first.There, first.Name)
	p.Lost = append(p.Lost, lostThing{u.File, fmt.Sprintf("%q as a user besides %q, who has the same secret: both are one user here, %s, "+
		"with the limits of %q; for one of them alone make a link with relay user add NAME", u.There, other, u.Name, other)})
}

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
	if !p.Refused {
		b.WriteString("The links go on working where the server in them leads to this relay")
		if len(p.Ports) > 0 {
			fmt.Fprintf(&b, ", on port %s", joinPorts(p.Ports))
		}
		b.WriteString(".\n")
	}
	switch {
	case p.Refused:
		b.WriteString("Nothing was done. Without --dry-run this import is refused.\n")
	case p.DryRun && len(p.crowded) > 0:
		fmt.Fprintf(&b, "This import is refused: more than %d users under %s.\n", faketls.MaxCandidates, strings.Join(p.crowded, ", "))
	case p.DryRun:
		fmt.Fprintf(&b, "Nothing was done. Without --dry-run this makes %s.\n", count(made, "user"))
	case p.Done:
		fmt.Fprintf(&b, "Made %s. See: relay user list\n", count(made, "user"))
	}
	_, err := io.WriteString(w, b.String())
	return err
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
		if u.Disabled && !u.Known {
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

func joinPorts(ports []uint16) string {
	out := make([]string, len(ports))
	for i, n := range ports {
		out[i] = strconv.Itoa(int(n))
	}
	return strings.Join(out, ", ")
}
