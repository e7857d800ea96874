// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// storm is what a LIST of an apiserver with a cold cache does to a v1 plugin:
// one Decrypt per value, all of them at once.
type storm struct {
	calls     int
	exhausted bool // RESOURCE_EXHAUSTED is expected, of some calls
	clients   []*client
	seeds     [][]byte
	texts     [][]byte
}

func runStorm(ctx context.Context, e *env, args []string) error {
	flags := flag.NewFlagSet("storm", flag.ContinueOnError)
	s := &storm{}
	flags.IntVar(&s.calls, "calls", 10000, "calls in flight at once")
	flags.BoolVar(&s.exhausted, "exhausted", false, "the plugin's limits are too low for them")
	if err := flags.Parse(args); err != nil || flags.NArg() != 0 {
		return errUsage("expected [-exhausted] [-calls=N]")
	}
	defer s.close()
	if err := s.prepare(ctx, e); err != nil {
		return err
	}
	e.test("one_connection", func() error { return s.run(ctx, e, s.clients[:1]) })
	e.test("eight_connections", func() error { return s.run(ctx, e, s.clients) })
	e.test("over", func() error { return checkPing(ctx, s.clients[0]) })
	e.test("same_connection", s.clients[0].oneConnection)
	return nil
}

func (s *storm) close() {
	for _, c := range s.clients {
		c.close()
	}
}

func (s *storm) prepare(ctx context.Context, e *env) error {
	for range 8 {
		c, err := dial(e)
		if err != nil {
			return err
		}
		s.clients = append(s.clients, c)
	}
	s.seeds = make([][]byte, 256)
	s.texts = make([][]byte, len(s.seeds))
	workers := 64
	if s.exhausted {
		workers = 1
	}
	return inParallel(workers, len(s.seeds), func(i int) error {
		var err error
		s.seeds[i] = newSeed()
		s.texts[i], err = s.clients[0].encryptV1(ctx, s.seeds[i])
		return err
	})
}

// wave is how many calls begin before the goroutines that read the connections
// get a turn. Go's scheduler takes what can run in its order: ten thousand new
// goroutines, on an emulated processor, would come before the readers for
// longer than the plugin keeps a connection whose client reads nothing (10 s).
const wave = 500

// run starts every call before it looks at an answer; grpc-go holds back what
// the plugin's SETTINGS_MAX_CONCURRENT_STREAMS does not let in.
func (s *storm) run(ctx context.Context, e *env, clients []*client) error {
	var group, begun sync.WaitGroup
	var refused atomic.Int64
	results := make([]error, s.calls)
	for i := range s.calls {
		if i%wave == 0 {
			begun.Wait()
		}
		begun.Add(1)
		group.Go(func() {
			begun.Done()
			err := s.one(ctx, clients[i%len(clients)], i%len(s.seeds))
			if s.exhausted && status.Code(err) == codes.ResourceExhausted {
				refused.Add(1)
				err = nil
			}
			results[i] = err
		})
	}
	group.Wait()
	e.note("%d calls, %d of them refused with RESOURCE_EXHAUSTED", s.calls, refused.Load())
	for i, err := range results {
		if err != nil {
			return fmt.Errorf("call %d: %w", i, err)
		}
	}
	if s.exhausted && refused.Load() == 0 {
		return errors.New("no call was refused")
	}
	return nil
}

func (s *storm) one(ctx context.Context, c *client, i int) error {
	plain, err := c.decryptV1(ctx, s.texts[i])
	if err != nil {
		return err
	}
	if !bytes.Equal(plain, s.seeds[i]) {
		return errors.New("Decrypt returned another seed")
	}
	return nil
}
