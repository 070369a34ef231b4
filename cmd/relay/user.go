package main

import (
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"

	"relay/auth"
	"relay/relay/admin"
)

type userCmd struct {
	Add     userAddCmd     `cmd:"" help:"Make users and print their links."`
	List    userListCmd    `cmd:"" help:"List users." aliases:"ls"`
	Show    userShowCmd    `cmd:"" help:"Show a user with links and QR codes."`
	Set     userSetCmd     `cmd:"" help:"Change a user's limits."`
	Disable userDisableCmd `cmd:"" help:"Stop serving a user and cut the live connections."`
	Enable  userEnableCmd  `cmd:"" help:"Serve a disabled user again, with the same links."`
	Rotate  userRotateCmd  `cmd:"" help:"Replace a user's passwords, so that old links stop working."`
	Remove  userRemoveCmd  `cmd:"" help:"Forget a user, with links and counters." aliases:"rm"`
}

// Help is shown below the usage.
func (*userCmd) Help() string {
	return `Changes take effect on a running relay at once; nobody else's connection notices.

Examples:
  relay user add alice --expires 30d --quota 50GiB/month
  relay user show alice --html alice.html
  relay user rotate alice --only socks5`
}

type jsonFlag struct {
	JSON bool `help:"Print JSON." name:"json"`
}

// with runs f on the relay's users.
func (p place) with(f func(*admin.Client) error) error { return p.ask(false, f) }

// ask is with; with create, the users are made where there are none.
func (p place) ask(create bool, f func(*admin.Client) error) error {
	c, done, err := p.client(create)
	if err != nil {
		return err
	}
	defer done()
	return f(c)
}

type userAddCmd struct {
	Names []string `arg:"" help:"Names: letters, digits, dots, underscores and hyphens." name:"name"`
	limitFlags
	place
	jsonFlag
}

// Help is shown below the usage.
func (*userAddCmd) Help() string {
	return `Prints the links of each new user; the password is in them.

Example:
  relay user add alice bob --expires 30d --quota 50GiB/month --max-conns 16`
}

// Run makes users.
func (c *userAddCmd) Run(s streams) error {
	seen := make(map[string]bool)
	for _, n := range c.Names {
		if err := auth.CheckName(n); err != nil {
			return usagef("%q: %w", n, err)
		}
		if seen[n] {
			return usagef("%s is named twice", n)
		}
		seen[n] = true
	}
	l, err := c.limits(s)
	if err != nil {
		return err
	}
	return c.ask(true, func(cl *admin.Client) error {
		us, err := cl.Add(admin.Add{Names: c.Names, Limits: l})
		if err != nil {
			return err
		}
		for _, u := range us {
			if err := showUser(s, u, c.JSON); err != nil {
				return untold("Made "+count(len(us), "user"), err)
			}
		}
		return nil
	})
}

// untold is for what was done, when there is no way to say so.
func untold(did string, err error) error {
	if err == nil {
		return nil
	}
	return hinted{fmt.Errorf("%s, but the output cannot be written: %w", did, err), "See: relay user list, and relay user show NAME for links"}
}

type userListCmd struct {
	place
	jsonFlag
}

// Help is shown below the usage.
func (*userListCmd) Help() string {
	return `Passwords and links are not shown here.

Example:
  relay user list --json`
}

// Run lists users.
func (c *userListCmd) Run(s streams) error {
	return c.with(func(cl *admin.Client) error {
		us, err := cl.Users()
		if err != nil {
			return err
		}
		if c.JSON {
			return writeJSON(s.out, us)
		}
		if len(us) == 0 {
			fmt.Fprintln(s.out, "There are no users yet. Make one: relay user add NAME")
			return nil
		}
		w := tabwriter.NewWriter(s.out, 0, 8, 2, ' ', 0)
		fmt.Fprintln(w, "NAME\tSTATE\tUP\tDOWN\tQUOTA\tEXPIRES")
		for _, u := range us {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", u.Name, u.State, human(u.Bytes.Up), human(u.Bytes.Down), quotaText(u), expiryText(u))
		}
		return w.Flush()
	})
}

func quotaText(u admin.User) string {
	if u.Quota == "" {
		return "-"
	}
	return human(u.Used) + " of " + u.Quota
}

func expiryText(u admin.User) string {
	if u.Expires == nil {
		return "never"
	}
	return u.Expires.Local().Format("2006-01-02 15:04")
}

// human is a byte count for people.
func human(n int64) string {
	const step = 1024
	if n < step {
		return fmt.Sprintf("%d B", n)
	}
	f, i := float64(n), -1
	for ; f >= step && i < 4; i++ {
		f /= step
	}
	return fmt.Sprintf("%.1f %ciB", f, "KMGTP"[i])
}

type userSetCmd struct {
	Name string `arg:"" help:"Name of the user."`
	limitFlags
	place
	jsonFlag
}

// Help is shown below the usage.
func (*userSetCmd) Help() string {
	return `Only what is named changes.

Example:
  relay user set alice --quota 100GiB/month --expires ""`
}

// Run changes limits.
func (c *userSetCmd) Run(s streams) error {
	l, err := c.limits(s)
	if err != nil {
		return err
	}
	if l.Expires == nil && l.Quota == nil && l.MaxConns == nil && l.MaxIPs == nil && l.Rate == nil && l.Explicit == nil {
		return usagef("nothing to set; see: relay user set --help")
	}
	return change(s, c.place, c.Name, admin.Change{Limits: l}, c.JSON, "Changed")
}

type userDisableCmd struct {
	Name string `arg:"" help:"Name of the user."`
	place
	jsonFlag
}

// Help is shown below the usage.
func (*userDisableCmd) Help() string {
	return `Example:
  relay user disable alice`
}

// Run disables a user.
func (c *userDisableCmd) Run(s streams) error {
	yes := true
	return change(s, c.place, c.Name, admin.Change{Disabled: &yes}, c.JSON, "Disabled")
}

type userEnableCmd struct {
	Name string `arg:"" help:"Name of the user."`
	place
	jsonFlag
}

// Help is shown below the usage.
func (*userEnableCmd) Help() string {
	return `The links stay the same, with one exception: if the user's server name for ee links
has been filled up meanwhile, the user gets another one. The command says so.

Example:
  relay user enable alice`
}

// Run enables a user.
func (c *userEnableCmd) Run(s streams) error {
	no := false
	return change(s, c.place, c.Name, admin.Change{Disabled: &no}, c.JSON, "Enabled")
}

// change applies a change and says so.
func change(s streams, p place, name string, ch admin.Change, asJSON bool, did string) error {
	return p.with(func(cl *admin.Client) error {
		u, err := cl.Change(name, ch)
		if err != nil {
			return err
		}
		if asJSON {
			err = showUser(s, u, true)
		} else {
			text := did + " " + name + ".\n"
			if u.Moved {
				text += "Others have taken the place under the old server name: the ee links have changed, and the old ones do not work.\nSee: relay user show " + name + "\n"
			}
			_, err = io.WriteString(s.out, text)
		}
		return untold(did+" "+name, err)
	})
}

type userRotateCmd struct {
	Name string   `arg:"" help:"Name of the user."`
	Only []string `help:"Replace the password of this protocol only. May be given more than once." placeholder:"PROTOCOL"`
	place
	jsonFlag
}

// Help is shown below the usage.
func (*userRotateCmd) Help() string {
	return `Live connections that used an old password are cut.

Examples:
  relay user rotate alice
  relay user rotate alice --only socks5`
}

// Run replaces passwords.
func (c *userRotateCmd) Run(s streams) error {
	which := c.Only
	if len(which) == 0 {
		which = labels()
	}
	return c.with(func(cl *admin.Client) error {
		u, err := cl.Change(c.Name, admin.Change{Rotate: which})
		if err != nil {
			return err
		}
		return untold("Rotated "+c.Name, showUser(s, u, c.JSON))
	})
}

type userRemoveCmd struct {
	Name string `arg:"" help:"Name of the user."`
	place
	jsonFlag
}

// Help is shown below the usage.
func (*userRemoveCmd) Help() string {
	return `A user of the same name made later is somebody else, with other passwords.

Example:
  relay user remove alice`
}

// Run removes a user.
func (c *userRemoveCmd) Run(s streams) error {
	return c.with(func(cl *admin.Client) error {
		if err := cl.Remove(c.Name); err != nil {
			return err
		}
		var err error
		if c.JSON {
			err = writeJSON(s.out, map[string]string{"removed": c.Name})
		} else {
			_, err = fmt.Fprintf(s.out, "Removed %s.\n", c.Name)
		}
		return untold("Removed "+c.Name, err)
	})
}

func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false) // links hold ampersands
	return e.Encode(v)
}
