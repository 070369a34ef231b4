package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"relay/relay/admin"
	"relay/relay/config"
	"relay/relay/mtproto"
	"relay/relay/policy"
)

const dcCheckTime = time.Minute

// tellDC logs what becomes of the ways to data centres. Their addresses are
// everybody's knowledge; which client wanted one is not said.
func tellDC(log *slog.Logger, c mtproto.Change) {
	switch {
	case !c.Down:
		log.Info("a data centre can be reached again", "dc", c.DC, "at", c.Way.String())
	case c.Instead == c.Way:
		log.Warn("a data centre cannot be reached, and nothing is left to try instead", "dc", c.DC, "at", c.Way.String(), "error", c.Reason)
	default:
		log.Warn("a data centre cannot be reached", "dc", c.DC, "at", c.Way.String(), "instead", c.Instead.String(), "error", c.Reason)
	}
}

// mtprotoReport says what is known of the data centres. Of a way over WebSocket it
// leaves out the path, which an operator's own server may keep secret.
func mtprotoReport(e env, options any, s *admin.Status) {
	o := options.(*mtproto.Options)
	for _, d := range o.Table(keptOf(e).health).States() {
		dc := admin.DC{
			ID: d.ID, At: d.Way.Target.String(), Kind: admin.Direct, State: admin.Untried,
			Ways: d.Ways, WaysDown: d.Down, LastError: d.Last.Why, LastErrorAt: moment(d.Last.At), Since: moment(d.Since),
		}
		if d.Way.Web() {
			dc.Kind = admin.WSS
		}
		switch {
		case d.Up:
			dc.State = admin.Up
		case d.Tried:
			dc.State = admin.Down
		}
		s.DCs = append(s.DCs, dc)
	}
}

// moment is a time for JSON, where zero is none.
func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// lookAtDCs tries every way to Telegram's data centres from here, as the
// configuration has them.
func lookAtDCs(cfg *config.Config, tabs []config.Table, say func(ok bool, format string, args ...any)) {
	ctx, cancel := context.WithTimeout(context.Background(), dcCheckTime)
	defer cancel()
	egress, err := policy.New(policy.Options{Config: cfg.Egress, DNS: cfg.DNS})
	if err != nil {
		say(false, "%v", err)
		return
	}
	o := optionsOf("mtproto", tabs).(*mtproto.Options)
	good, bad := map[int][]string{}, map[int][]string{}
	var order []int
	for _, r := range o.Table(nil).Probe(ctx, egress) {
		if len(order) == 0 || order[len(order)-1] != r.DC {
			order = append(order, r.DC)
		}
		if r.Err == nil {
			good[r.DC] = append(good[r.DC], fmt.Sprintf("%s (%v)", r.Way, r.Took.Round(time.Millisecond)))
		} else {
			bad[r.DC] = append(bad[r.DC], fmt.Sprintf("%s (%v)", r.Way, r.Err))
		}
	}
	for _, dc := range order {
		text := "no way"
		if len(good[dc]) > 0 {
			text = strings.Join(good[dc], ", ")
		}
		if len(bad[dc]) > 0 {
			text += "; not " + strings.Join(bad[dc], ", ")
		}
		say(len(good[dc]) > 0, "data centre %d: %s", dc, text)
	}
}

// dcFindings warns of data centres that the policy keeps clients from. Nothing is dialled.
func dcFindings(cfg *config.Config, o *mtproto.Options) []finding {
	egress, err := egressOf(cfg)
	if err != nil {
		return nil // a fault, which is told elsewhere
	}
	var order []int
	left, reasons, first := map[int][]string{}, map[int][]string{}, map[int]bool{}
	o.Table(nil).Each(func(dc int, w mtproto.Way) {
		fresh := !slices.Contains(order, dc)
		if fresh {
			order = append(order, dc)
		}
		d, refused := errors.AsType[*policy.DeniedError](egress.Check(w.Target))
		switch {
		case !refused:
			left[dc] = append(left[dc], w.String())
		case !slices.Contains(reasons[dc], d.Reason):
			reasons[dc] = append(reasons[dc], d.Reason)
		}
		first[dc] = first[dc] || fresh && refused
	})
	none := map[string][]string{}
	var out []finding
	for _, dc := range order {
		why := strings.Join(reasons[dc], ", ")
		switch {
		case len(left[dc]) == 0:
			none[why] = append(none[why], strconv.Itoa(dc))
		case first[dc]: // who refuses IPv6 alone, or WebSocket, means it
			out = append(out, finding(fmt.Sprintf("[egress] refuses addresses of Telegram's data centre %d: %s; what is left is %s", dc, why, strings.Join(left[dc], ", "))))
		}
	}
	for _, why := range slices.Sorted(maps.Keys(none)) {
		out = append(out, finding(fmt.Sprintf("[egress] refuses every way to Telegram's data centres %s: %s; mtproto is of no use without them: add \"telegram\" to presets if there are some, and see allow and deny", strings.Join(none[why], ", "), why)))
	}
	return out
}
