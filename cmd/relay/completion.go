package main

import (
	"fmt"
	"strings"

	"github.com/alecthomas/kong"
)

type completionCmd struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"bash, zsh or fish."`
}

// Help is shown below the usage.
func (*completionCmd) Help() string {
	return `Examples:
  source <(relay completion bash)
  relay completion zsh > "${fpath[1]}/_relay"
  relay completion fish > ~/.config/fish/completions/relay.fish`
}

// Run prints a script.
func (c *completionCmd) Run(s streams, root *cli) error {
	k, err := newParser(root, s, func(int) {})
	if err != nil {
		return err
	}
	words := completions(k.Model.Node, "")
	var b strings.Builder
	switch c.Shell {
	case "bash":
		bashCompletion(&b, words)
	case "zsh":
		b.WriteString("#compdef relay\nautoload -U +X bashcompinit && bashcompinit\n")
		bashCompletion(&b, words)
	case "fish":
		fishCompletion(&b, k.Model.Node, nil)
	}
	_, err = fmt.Fprint(s.out, b.String())
	return err
}

// completion is what may follow a path of subcommands.
type completion struct {
	path  string // "relay user add"
	words []string
	files []string // flags that take a file or folder
	takes bool     // files as arguments
}

func completions(n *kong.Node, above string) []completion {
	path := strings.TrimSpace(above + " " + n.Name)
	c := completion{path: path}
	var out []completion
	for _, ch := range n.Children {
		c.words = append(c.words, ch.Name)
		out = append(out, completions(ch, path)...)
	}
	for _, f := range n.Flags {
		c.words = append(c.words, "--"+f.Name)
		if f.Tag.Type == "path" {
			c.files = append(c.files, "--"+f.Name)
		}
	}
	for _, a := range n.Positional {
		c.words = append(c.words, a.EnumSlice()...)
		c.takes = c.takes || a.Tag.Type == "path"
	}
	return append([]completion{c}, out...)
}

// bashCompletion finds the longest path of subcommands on the line and offers
// what may follow it.
func bashCompletion(b *strings.Builder, words []completion) {
	b.WriteString(`_relay() {
  local cur="${COMP_WORDS[COMP_CWORD]}" prev="${COMP_WORDS[COMP_CWORD-1]}" path=relay words="" w
  for w in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case "$path $w" in
`)
	for _, c := range words[1:] {
		fmt.Fprintf(b, "      %q) path=%q ;;\n", c.path, c.path)
	}
	b.WriteString("    esac\n  done\n  case \"$prev\" in\n")
	seen := map[string]bool{}
	var files []string
	for _, c := range words {
		for _, f := range c.files {
			if !seen[f] {
				seen[f] = true
				files = append(files, f)
			}
		}
	}
	if len(files) > 0 {
		fmt.Fprintf(b, "    %s) COMPREPLY=($(compgen -f -- \"$cur\")); return ;;\n", strings.Join(files, "|"))
	}
	b.WriteString("  esac\n  case \"$path\" in\n")
	for _, c := range words {
		fmt.Fprintf(b, "    %q) words=%q ;;\n", c.path, strings.Join(c.words, " "))
	}
	b.WriteString("  esac\n  COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n  case \"$path $cur\" in\n    *\\ -*) ;;\n")
	for _, c := range words {
		if c.takes {
			fmt.Fprintf(b, "    %q*) COMPREPLY=($(compgen -f -- \"$cur\")) ;;\n", c.path+" ")
		}
	}
	b.WriteString("  esac\n  [ ${#COMPREPLY[@]} -gt 0 ] || COMPREPLY=($(compgen -f -- \"$cur\"))\n}\ncomplete -F _relay relay\n")
}

func fishCompletion(b *strings.Builder, n *kong.Node, above []string) {
	cond := "__fish_use_subcommand"
	if len(above) > 0 {
		cond = "__fish_seen_subcommand_from " + above[len(above)-1]
	}
	quote := func(s string) string { return "'" + strings.ReplaceAll(s, "'", `\'`) + "'" }
	for _, ch := range n.Children {
		fmt.Fprintf(b, "complete -c relay -f -n %s -a %s -d %s\n", quote(cond), ch.Name, quote(ch.Help))
	}
	for _, f := range n.Flags {
		fmt.Fprintf(b, "complete -c relay -n %s -l %s -d %s\n", quote(cond), f.Name, quote(f.Help))
	}
	for _, ch := range n.Children {
		fishCompletion(b, ch, append(above, ch.Name))
	}
}
