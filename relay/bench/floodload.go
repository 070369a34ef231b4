package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"time"

	"relay/transport/faketls"
)

// The kinds of flood: what a connection says before it waits for its end.
const (
	floodSilence = "silence"
	floodRandom  = "random" // 600 bytes
	floodPart    = "part"   // the first 40 bytes of a hello
	floodWrong   = "wrong"  // a whole hello, made with a key of nobody
)

var floodKinds = []string{floodSilence, floodRandom, floodPart, floodWrong}

const (
	randomLength = 600
	partLength   = 40
	floodTexts   = 64  // different ones
	floodNets    = 50  // the sources are in this many networks of 254 addresses,
	floodSecond  = 200 // 127.200.0.0/24 and up
)

// floodJob is what a load process has to do.
type floodJob struct {
	Port   int
	Kind   string
	Number int
	First  int // of the sources
	Within time.Duration
	Hold   time.Duration
}

// floodReport is what came of it.
type floodReport struct{ Opened, Held, Ended int }

// floodSource is the address of connection i.
func floodSource(i int) net.IP {
	return net.IPv4(127, floodSecond, byte(i%floodNets), byte(1+i/floodNets%254))
}

// texts are what connections of a kind say.
func (j floodJob) texts() [][]byte {
	if j.Kind == floodSilence {
		return [][]byte{nil}
	}
	var all [][]byte
	for range floodTexts {
		b := make([]byte, randomLength)
		_, _ = rand.Read(b) // never fails (crypto/rand)
		if j.Kind != floodRandom {
			b = faketls.Hello(faketls.Chrome, siteName, (*[16]byte)(b), time.Now())
		}
		if j.Kind == floodPart {
			b = b[:partLength]
		}
		all = append(all, b)
	}
	return all
}

// run opens the connections at even distances and holds each until the server
// ends it, or until the hold is over.
func (j floodJob) run(ctx context.Context) floodReport {
	texts := j.texts()
	begin := time.Now()
	ctx, cancel := context.WithDeadline(ctx, begin.Add(j.Hold))
	defer cancel()
	var open, held, opened, ended atomic.Int64
	var all sync.WaitGroup
	for i := range j.Number {
		if wait(ctx, time.Until(begin.Add(time.Duration(i)*j.Within/time.Duration(j.Number)))) != nil {
			break
		}
		all.Go(func() {
			dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: floodSource(j.First + i)}, Control: portAtConnect}
			c, err := dialer.DialContext(ctx, "tcp4", fmt.Sprintf("127.0.0.1:%d", j.Port))
			if err != nil {
				return
			}
			defer c.Close()
			opened.Add(1)
			for n := open.Add(1); ; {
				if most := held.Load(); n <= most || held.CompareAndSwap(most, n) {
					break
				}
			}
			defer open.Add(-1)
			deadline, _ := ctx.Deadline()
			_ = c.SetDeadline(deadline)
			_, err = c.Write(texts[i%len(texts)])
			if err == nil {
				_, err = io.Copy(io.Discard, onlyReader{c})
			}
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				ended.Add(1)
			}
		})
	}
	all.Wait()
	return floodReport{int(opened.Load()), int(held.Load()), int(ended.Load())}
}

// onlyReader hides what io.Copy would use: a pipe for each connection.
type onlyReader struct{ c net.Conn }

func (o onlyReader) Read(b []byte) (int, error) { return o.c.Read(b[:min(len(b), 512)]) }

// runFloodLoad is the process of a load: a job on standard input, a report on
// standard output.
func runFloodLoad() error {
	if _, err := raiseDescriptors(); err != nil {
		return err
	}
	var j floodJob
	if err := json.NewDecoder(os.Stdin).Decode(&j); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(j.run(context.Background()))
}

// floodLoads are the running processes of a load.
type floodLoads struct {
	commands []*exec.Cmd
	outputs  []*json.Decoder
}

// startLoads starts a flood of a port.
func (f *flooding) startLoads(port int, kind string) (*floodLoads, error) {
	l := new(floodLoads)
	s := f.settings
	share := s.connections / s.loads
	for i := range s.loads {
		c := exec.Command(f.program, "flood-load")
		c.Stderr, c.SysProcAttr = os.Stderr, childAttributes(nil)
		in, err := c.StdinPipe()
		if err != nil {
			return nil, err
		}
		out, err := c.StdoutPipe()
		if err != nil {
			return nil, err
		}
		if err := c.Start(); err != nil {
			return nil, errors.Join(err, l.kill())
		}
		l.commands, l.outputs = append(l.commands, c), append(l.outputs, json.NewDecoder(out))
		job := floodJob{Port: port, Kind: kind, Number: share, First: i * share, Within: s.within, Hold: s.hold}
		if err := json.NewEncoder(in).Encode(job); err != nil {
			return nil, errors.Join(err, l.kill())
		}
	}
	return l, nil
}

func (l *floodLoads) kill() error {
	for _, c := range l.commands {
		killGroup(c.Process.Pid)
	}
	_, err := l.wait()
	return err
}

// wait waits for the end of all and returns what they report.
func (l *floodLoads) wait() ([]floodReport, error) {
	var reports []floodReport
	var errs []error
	for i, c := range l.commands {
		var r floodReport
		errs = append(errs, l.outputs[i].Decode(&r), c.Wait())
		reports = append(reports, r)
	}
	return reports, errors.Join(errs...)
}
