package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"relay/relay/admin"
	"relay/relay/config"
	"relay/relay/mtproto"
	"relay/transport/faketls"
)

// importPlan is what an import does, and what it needs. It holds no secret but
// in from, which is not printed.
type importPlan struct {
	DryRun  bool           `json:"dry_run"`
	Done    bool           `json:"done"`              // the users are there
	Refused bool           `json:"refused,omitempty"` // nobody is imported, for these
	Reasons []string       `json:"reasons,omitempty"`
	Users   []importedUser `json:"users"`
	Lines   string         `json:"lines,omitempty"` // for the configuration
	Lost    []lostThing    `json:"lost,omitempty"`
	Server  []string       `json:"servers,omitempty"` // hosts that the links name, where known
	Ports   []uint16       `json:"ports,omitempty"`   // that the links name

	from         []*foreign
	noListener   bool     // here
	crowded      []string // names with more users than fit under one
	missingNames []string // by this relay, as all that follows
	missingKinds []mtproto.Kind
	missingPorts []uint16
	noBare       bool // links with the bare secret do not work
	lacking      bool // some of these, so that nobody is imported
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
	// State says of who is known why links do not work, if they do not: "disabled",
	// "expired" or "over quota".
	State string `json:"state,omitempty"`
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
	p := &importPlan{Users: []importedUser{}, from: all}
	options := optionsOf("mtproto", tabs).(*mtproto.Options)
	p.noListener = !slices.ContainsFunc(cfg.Listen, func(l config.Listen) bool { return slices.Contains(l.Inbounds, "mtproto") })
	names := p.names(cfg, options)
	var dead []mtproto.Kind // those of users who have no other
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
			lacks := without(u.Kinds, options.Kinds())
			p.missingKinds = appendNew(p.missingKinds, lacks...)
			if len(lacks) == len(u.Kinds) {
				dead = appendNew(dead, lacks...)
			}
		}
		if f.Bare && !slices.Contains(options.Kinds(), mtproto.KindSimple) {
			p.noBare = true
			f.lose(`links with the bare secret, without dd before it: they need "simple" in secrets below [mtproto], which is easy to recognise; better give out new links`)
		}
		for _, what := range f.Lost {
			p.Lost = append(p.Lost, lostThing{f.File, what})
		}
		p.Ports = append(p.Ports, f.Ports...)
		p.Server = appendNew(p.Server, f.Public...)
	}
	slices.Sort(p.Ports)
	p.Ports = slices.Compact(p.Ports)
	p.lines(cfg, options)
	p.judge(dead)
	return p
}

// names are those of ee secrets that users here have. Where nobody can have one yet,
// the cover's are not among them: web's name is to last.
func (p *importPlan) names(cfg *config.Config, o *mtproto.Options) []string {
	if p.noListener {
		return o.Names
	}
	return mtprotoNames(cfg, o)
}

// without is what of some is not among others.
func without[T comparable](some, others []T) []T {
	return slices.DeleteFunc(slices.Clone(some), func(v T) bool { return slices.Contains(others, v) })
}

func (p *importPlan) refuse(format string, args ...any) {
	p.Refused, p.Reasons = true, append(p.Reasons, fmt.Sprintf(format, args...))
}

// judge refuses users whose links cannot work. Who has links that do besides one
// that does not is told: the kinds that are easy to recognise are nobody's duty.
func (p *importPlan) judge(dead []mtproto.Kind) {
	if len(p.crowded) > 0 {
		p.refuse("more than %d users under %s", faketls.MaxCandidates, strings.Join(p.crowded, ", "))
		return
	}
	if p.noListener {
		p.refuse("no listener here has mtproto")
	}
	if len(p.missingNames) > 0 {
		p.refuse("names below [mtproto] lacks %s", strings.Join(p.missingNames, ", "))
	}
	if len(dead) > 0 {
		p.refuse("secrets below [mtproto] lacks %s", joined(dead))
	}
	p.lacking = p.Refused
}

// stop says why nobody is imported.
func (p *importPlan) stop() error {
	if !p.Refused {
		return nil
	}
	err := fmt.Errorf("nobody was imported: %s", strings.Join(p.Reasons, "; "))
	switch {
	case len(p.crowded) > 0:
		return hinted{err, "Every user of a name is tried for every connection, so that is the most. Split the file among relays, or leave out users who are gone."}
	case p.lacking:
		return hinted{err, "Put the lines above into the configuration, then relay reload (or start the relay), then import again."}
	}
	return err
}

// settle notes what the relay says of the users.
func (p *importPlan) settle(out []admin.Imported) {
	made := make(map[string]*importedUser) // by their names here
	moved, elsewhere := 0, 0
	for i, o := range out {
		u := &p.Users[i]
		u.Name, u.Known, u.State = o.As, o.Known, o.State
		p.Done = !p.DryRun
		at := o.Places[mtproto.Label]
		other := u.Under != "" && at != u.Under
		switch {
		case !u.Known:
			made[u.Name] = u
			if u.Moved = other && !slices.Contains(p.missingNames, u.Under); u.Moved {
				moved++
			}
		case other:
			u.Elsewhere = cmp.Or(at, "no name")
			elsewhere++
		}
		if first := made[u.Name]; u.Known && first != nil {
			u.twin = true
			first.Disabled = first.Disabled && u.Disabled
			u.Disabled = first.Disabled
			p.loseTwin(u, first)
		}
	}
	if moved > 0 {
		p.refuse("no room under their server name for %s", count(moved, "user"))
	}
	if elsewhere > 0 {
		p.refuse("the same secret under another server name: %s", count(elsewhere, "user"))
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
