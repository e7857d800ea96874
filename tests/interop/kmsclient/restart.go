// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const restartWorkers = 8

// traffic is a set of goroutines that call the plugin without a pause while
// it is restarted under them. Nothing is timed: the caller writes a line to
// standard input when it wants to know that every worker has finished a round
// trip begun after that line; the answer is a line "# mark N". End of file ends
// the test.
type traffic struct {
	client *client
	retry  bool
	calls  atomic.Int64
	epoch  atomic.Int64

	mutex sync.Mutex
	moved *sync.Cond
	seen  [restartWorkers]int64 // the epoch in which the last round trip began
	err   error
}

// runRestart keeps two promises apart. Without -retry no call may fail: the
// plugin drains its calls before it goes, and the next one listens in time.
// With -retry a call that a crash cut off is tried again until the timeout of
// one call is over, as the apiserver's own callers do.
func runRestart(ctx context.Context, e *env, args []string) error {
	flags := flag.NewFlagSet("restart", flag.ContinueOnError)
	retry := flags.Bool("retry", false, "try again when the connection broke during a call")
	rotated := flags.Bool("rotated", false, "the key is rotated meanwhile: old values are stale")
	if err := flags.Parse(args); err != nil || flags.NArg() != 0 {
		return errUsage("expected [-retry] [-rotated]")
	}
	server, err := newHealthyAPIServer(ctx, e, "v2")
	if err != nil {
		return err
	}
	defer server.stop()
	old := newValues(min(e.values, 50))
	if err := roundTripAll(ctx, server, old, "v2"); err != nil {
		return err
	}
	c, err := dial(e)
	if err != nil {
		return err
	}
	defer c.close()

	e.test("no_call_failed", func() error { return newTraffic(c, *retry).run(ctx, e) })
	e.test("old_values_readable", func() error {
		if !*rotated {
			return readAllElsewhere(ctx, e, old, "v2")
		}
		second, err := newHealthyAPIServer(ctx, e, "v2")
		if err != nil {
			return err
		}
		defer second.stop()
		return verifyValues(ctx, e, second, old, "yes")
	})
	e.test("old_apiserver_goes_on", func() error {
		return newValue(e.values, 100).roundTrip(ctx, server, "v2")
	})
	return nil
}

func newTraffic(c *client, retry bool) *traffic {
	t := &traffic{client: c, retry: retry}
	t.moved = sync.NewCond(&t.mutex)
	return t
}

func (t *traffic) run(ctx context.Context, e *env) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var group sync.WaitGroup
	for w := range restartWorkers {
		group.Go(func() { t.work(ctx, w) })
	}
	err := t.obey(e)
	t.epoch.Store(-1)
	group.Wait()
	e.note("%d round trips, %d connections", t.calls.Load(), t.client.dials.Load())
	return errors.Join(err, t.failure())
}

// work is one worker: round trips until the epoch is -1.
func (t *traffic) work(ctx context.Context, worker int) {
	for epoch := t.epoch.Load(); epoch >= 0; epoch = t.epoch.Load() {
		err := guarded(func() error { return t.roundTrip(ctx) })
		t.calls.Add(1)
		t.mutex.Lock()
		t.seen[worker] = epoch
		if err != nil && t.err == nil {
			t.err = err
		}
		t.moved.Broadcast()
		t.mutex.Unlock()
		if err != nil {
			return
		}
	}
}

func (t *traffic) roundTrip(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, t.client.timeout)
	defer cancel()
	for {
		err := t.client.roundTrip(ctx)
		// No pause is needed: WaitForReady blocks until there is a
		// connection, and a broken one is not ready.
		if err == nil || !t.retry || status.Code(err) != codes.Unavailable {
			return err
		}
	}
}

// obey answers the lines of standard input until the last.
func (t *traffic) obey(e *env) error {
	lines := bufio.NewScanner(os.Stdin)
	fmt.Fprintln(e.out, "# ready")
	for n := 1; lines.Scan() && lines.Text() != "end"; n++ {
		if err := t.mark(); err != nil {
			return nil // failure reports it
		}
		fmt.Fprintf(e.out, "# mark %d: %d round trips\n", n, t.calls.Load())
	}
	return lines.Err()
}

// mark waits until every worker has finished a round trip that began after
// the call of mark.
func (t *traffic) mark() error {
	epoch := t.epoch.Add(1)
	t.mutex.Lock()
	defer t.mutex.Unlock()
	for t.err == nil && !t.allReached(epoch) {
		t.moved.Wait()
	}
	return t.err
}

func (t *traffic) allReached(epoch int64) bool {
	for _, seen := range t.seen {
		if seen < epoch {
			return false
		}
	}
	return true
}

func (t *traffic) failure() error {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	if t.err == nil {
		return nil
	}
	return fmt.Errorf("after %d round trips, at %s: %w", t.calls.Load(), time.Now().Format(time.TimeOnly), t.err)
}
