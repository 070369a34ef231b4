package site

import (
	"errors"
	"log/slog"
	"strings"
	"testing"

	"go.uber.org/zap"
)

// Libraries speak at our levels, and do not say who came.
func TestACMELog(t *testing.T) {
	said := new(lines)
	h := demoted{slog.NewTextHandler(said, &slog.HandlerOptions{Level: slog.LevelDebug})}
	z := zapLogger(h).Named("x").With(zap.String("remote", "192.0.2.1"), zap.String("kept", "1"))
	z.Error("trouble", zap.Error(errors.New("why")), zap.String("remote_addr", "192.0.2.1"))
	z.Warn("odd")
	z.Info("normal", zap.Strings("account_contact", []string{"mailto:a@example.org"}))
	z.Debug("detail")
	l := slog.New(h).With("account", "https://ca/acct/1")
	l.Error("trouble too", "headers", "Cookie")
	l.Info("normal too")
	got := said.String()
	for _, want := range []string{
		`level=INFO msg="acme: trouble" kept=1 error=why`, `level=INFO msg="acme: odd"`, `level=DEBUG msg="acme: normal"`,
		`level=DEBUG msg="acme: detail"`, `level=INFO msg="acme: trouble too"`, `level=DEBUG msg="acme: normal too"`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("got %s, want %s in it", got, want)
		}
	}
	for _, bad := range []string{"192.0.2.1", "mailto", "acct", "Cookie"} {
		if strings.Contains(got, bad) {
			t.Errorf("got %s, want no %s in it", got, bad)
		}
	}
}
