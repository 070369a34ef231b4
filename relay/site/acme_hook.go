package site

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/mholt/acmez/v3/acme"
)

const (
	// presentLimit is how long the hook may take to make a record, and to wait
	// until every server of the zone has it.
	presentLimit = 5 * time.Minute
	// cleanupLimit is how long it may take to remove the record. The end of the
	// relay waits for it.
	cleanupLimit = 30 * time.Second
	// maxHookOutput is how much of what the hook says is kept.
	maxHookOutput = 2 << 10
)

// hookEnvironment is all that the hook gets: what the relay was started with may
// hold secrets that are none of its business.
var hookEnvironment = []string{
	"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
	"LANG=C.UTF-8",
}

// hookSolver is the challenge dns-01 (RFC 8555, Section 8.4) by a program of the
// operator's, which alone knows how his zone is changed:
//
//	HOOK present _acme-challenge.example.org VALUE
//	HOOK cleanup _acme-challenge.example.org VALUE
//
// present returns when the record can be asked for at every server of the zone.
// The program is run once at a time: it may write to a file.
type hookSolver struct {
	program string
	log     *slog.Logger
	running sync.Mutex
}

// Present implements acmez.Solver.
func (h *hookSolver) Present(ctx context.Context, c acme.Challenge) error {
	return h.run(ctx, presentLimit, "present", c)
}

// CleanUp implements acmez.Solver. A record that was made is removed also when
// the relay ends.
func (h *hookSolver) CleanUp(ctx context.Context, c acme.Challenge) error {
	err := h.run(context.WithoutCancel(ctx), cleanupLimit, "cleanup", c)
	if err != nil {
		h.log.Warn("a record of a challenge may be left in the DNS", "name", c.DNS01TXTRecordName(), "error", err)
	}
	return err
}

func (h *hookSolver) run(ctx context.Context, limit time.Duration, verb string, c acme.Challenge) error {
	h.running.Lock()
	defer h.running.Unlock()
	if ctx.Err() != nil {
		return ctx.Err() // while another one ran
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	said := &head{limit: maxHookOutput}
	cmd := exec.CommandContext(ctx, h.program, verb, c.DNS01TXTRecordName(), c.DNS01KeyAuthorization())
	cmd.Env, cmd.Dir, cmd.Stderr = hookEnvironment, rootFolder, said
	endGroup(cmd)
	// What the program has started may hold on to its standard error.
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	text := strings.TrimSpace(string(said.b))
	if err == nil {
		h.log.Debug("the DNS hook has run", "verb", verb, "said", text)
		return nil
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		err = fmt.Errorf("no end after %v", limit)
	}
	if text != "" {
		err = fmt.Errorf("%w: %s", err, text)
	}
	return fmt.Errorf("DNS hook %s: %w", verb, err)
}

// head keeps the first bytes of what is written to it.
type head struct {
	b     []byte // not a bytes.Buffer, whose ReadFrom would take everything
	limit int
}

// Write implements io.Writer; it takes everything.
func (h *head) Write(b []byte) (int, error) {
	h.b = append(h.b, b[:min(len(b), h.limit-len(h.b))]...)
	return len(b), nil
}
