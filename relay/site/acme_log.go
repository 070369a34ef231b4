package site

import (
	"context"
	"log/slog"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// demoted is a handler for what libraries say: trouble is Info and the rest is
// Debug, as what needs somebody is said by [ACME], once. Fields that could name
// people, or are long, are left out.
type demoted struct{ slog.Handler }

func demote(l slog.Level) slog.Level {
	if l >= slog.LevelWarn {
		return slog.LevelInfo
	}
	return slog.LevelDebug
}

// unlogged are the fields of certmagic and acmez that say who came, whose the
// account is, or what headers were sent.
var unlogged = map[string]bool{
	"remote": true, "remote_addr": true, "client_ip": true, "user_agent": true, "uri": true,
	"account": true, "account_id": true, "account_contact": true, "contact": true,
	"headers": true, "response_headers": true,
}

// Enabled implements slog.Handler.
func (d demoted) Enabled(ctx context.Context, l slog.Level) bool {
	return d.Handler.Enabled(ctx, demote(l))
}

// Handle implements slog.Handler.
func (d demoted) Handle(ctx context.Context, r slog.Record) error {
	out := slog.NewRecord(r.Time, demote(r.Level), "acme: "+r.Message, r.PC)
	r.Attrs(func(a slog.Attr) bool {
		if !unlogged[a.Key] {
			out.AddAttrs(a)
		}
		return true
	})
	return d.Handler.Handle(ctx, out)
}

// WithAttrs implements slog.Handler.
func (d demoted) WithAttrs(attrs []slog.Attr) slog.Handler {
	var kept []slog.Attr
	for _, a := range attrs {
		if !unlogged[a.Key] {
			kept = append(kept, a)
		}
	}
	return demoted{d.Handler.WithAttrs(kept)}
}

// WithGroup implements slog.Handler.
func (d demoted) WithGroup(name string) slog.Handler { return demoted{d.Handler.WithGroup(name)} }

// zapLogger is a logger of the kind that certmagic takes, which writes to h.
func zapLogger(h slog.Handler) *zap.Logger { return zap.New(zapCore{h}) }

// zapCore hands the entries of zap to slog.
type zapCore struct{ h slog.Handler }

func levelOf(l zapcore.Level) slog.Level {
	switch {
	case l >= zapcore.ErrorLevel:
		return slog.LevelError
	case l == zapcore.WarnLevel:
		return slog.LevelWarn
	case l == zapcore.InfoLevel:
		return slog.LevelInfo
	}
	return slog.LevelDebug
}

// Enabled implements zapcore.Core.
func (c zapCore) Enabled(l zapcore.Level) bool {
	return c.h.Enabled(context.Background(), levelOf(l))
}

// With implements zapcore.Core.
func (c zapCore) With(fields []zapcore.Field) zapcore.Core {
	return zapCore{c.h.WithAttrs(attrsOf(fields))}
}

// Check implements zapcore.Core.
func (c zapCore) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(e.Level) {
		return ce.AddCore(e, c)
	}
	return ce
}

// Write implements zapcore.Core.
func (c zapCore) Write(e zapcore.Entry, fields []zapcore.Field) error {
	r := slog.NewRecord(e.Time, levelOf(e.Level), e.Message, 0)
	r.AddAttrs(attrsOf(fields)...)
	return c.h.Handle(context.Background(), r)
}

// Sync implements zapcore.Core.
func (c zapCore) Sync() error { return nil }

// attrsOf turns fields into attributes, by way of plain values.
func attrsOf(fields []zapcore.Field) []slog.Attr {
	attrs := make([]slog.Attr, 0, len(fields))
	for _, f := range fields {
		m := zapcore.NewMapObjectEncoder()
		f.AddTo(m)
		for k, v := range m.Fields {
			attrs = append(attrs, slog.Any(k, v))
		}
	}
	return attrs
}
