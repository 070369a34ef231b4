package config

import (
	"errors"
	"maps"
	"slices"
)

// Certificate says where the site's certificates come from. It is written as a
// word, as a table of two PEM files, or as an array of such tables.
type Certificate struct {
	Word  string // "acme" or "self-signed"
	Files []CertificateFiles
}

// CertificateFiles are a certificate chain and its key, in PEM.
type CertificateFiles struct {
	Cert string `toml:"cert"`
	Key  string `toml:"key"`
}

var errCertificate = errors.New(`want "acme", "self-signed", { cert = "…", key = "…" } or [{ cert = "…", key = "…" }, …]`)

// UnmarshalTOML reads each of its forms.
func (c *Certificate) UnmarshalTOML(v any) error {
	list := []any{v}
	switch v := v.(type) {
	case string:
		if !slices.Contains([]string{"", "acme", "self-signed"}, v) {
			return errCertificate
		}
		*c = Certificate{Word: v}
		return nil
	case []any:
		list = v
	}
	out := Certificate{}
	for _, v := range list {
		var f CertificateFiles
		if err := f.read(v); err != nil {
			return err
		}
		out.Files = append(out.Files, f)
	}
	if len(out.Files) == 0 {
		return errCertificate
	}
	*c = out
	return nil
}

func (f *CertificateFiles) read(v any) error {
	m, ok := v.(map[string]any)
	if !ok {
		return errCertificate
	}
	for _, key := range slices.Sorted(maps.Keys(m)) {
		s, ok := m[key].(string)
		switch {
		case !ok:
			return errCertificate
		case key == "cert":
			f.Cert = s
		case key == "key":
			f.Key = s
		default:
			return errors.New("unknown key " + shown(key) + ` in it: want { cert = "…", key = "…" }`)
		}
	}
	return nil
}

// MarshalTOML returns what UnmarshalTOML reads.
func (c *Certificate) MarshalTOML() any {
	switch len(c.Files) {
	case 0:
		return c.Word
	case 1:
		return c.Files[0]
	}
	return c.Files
}

func (c *Certificate) set() bool { return c.Word != "" || len(c.Files) > 0 }
