// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
)

// inParallel calls run for 0 .. count-1 from several goroutines, stops handing
// out work at the first error, and returns the errors it saw.
func inParallel(workers, count int, run func(i int) error) error {
	var group sync.WaitGroup
	var next atomic.Int64
	var failed atomic.Bool
	results := make([]error, workers)
	for w := range workers {
		group.Go(func() {
			for i := int(next.Add(1)) - 1; i < count && !failed.Load(); i = int(next.Add(1)) - 1 {
				if err := guarded(func() error { return run(i) }); err != nil {
					results[w] = err
					failed.Store(true)
					return
				}
			}
		})
	}
	group.Wait()
	return errors.Join(results...)
}

func runParallel(ctx context.Context, e *env, args []string) error {
	if err := noArgs(args); err != nil {
		return err
	}
	c, err := dial(e)
	if err != nil {
		return err
	}
	defer c.close()

	e.test("64_streams_50_calls", func() error {
		return inParallel(64, 64*50, func(int) error { return c.roundTrip(ctx) })
	})
	e.test("many_connections", func() error { return manyConnections(ctx, e) })
	e.test("connections_come_and_go", func() error { return churn(ctx, e, c) })
	e.test("cancellation_storm", func() error { return cancelStorm(ctx, e, c) })
	e.test("deadline_of_1_ms", func() error { return shortDeadlines(ctx, c) })
	e.test("deadline_in_the_past", func() error { return pastDeadline(ctx, c) })
	e.test("storm_over", func() error { return c.roundTrip(ctx) })
	e.test("one_connection", c.oneConnection)
	return nil
}

// manyConnections holds them all open, and then uses each.
func manyConnections(ctx context.Context, e *env) error {
	clients := make([]*client, e.conns)
	defer func() {
		for _, c := range clients {
			if c != nil {
				c.close()
			}
		}
	}()
	for i := range clients {
		c, err := dial(e)
		if err != nil {
			return err
		}
		clients[i] = c
		if _, err := c.status(ctx); err != nil {
			return fmt.Errorf("connection %d: %w", i, err)
		}
	}
	return inParallel(len(clients), 4*len(clients), func(i int) error {
		return clients[i%len(clients)].roundTrip(ctx)
	})
}

// churn connects and leaves without a word.
func churn(ctx context.Context, e *env, c *client) error {
	for range 200 {
		conn, err := net.Dial("unix", e.socket)
		if err != nil {
			return err
		}
		conn.Close()
	}
	return c.roundTrip(ctx)
}

// cancelStorm abandons each call at another moment: before it is sent, while
// it is under way, or when it has just been answered.
func cancelStorm(ctx context.Context, e *env, c *client) error {
	var cancelled atomic.Int64
	err := inParallel(64, 64*50, func(i int) error {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		time.AfterFunc(time.Duration(i%64)*50*time.Microsecond, cancel)
		_, err := c.encrypt(ctx, newSeed())
		if err != nil {
			cancelled.Add(1)
		}
		return wantCode(err, codes.OK, codes.Canceled)
	})
	e.note("%d calls of %d were cancelled in time", cancelled.Load(), 64*50)
	if err != nil {
		return err
	}
	return c.roundTrip(ctx)
}

func shortDeadlines(ctx context.Context, c *client) error {
	err := inParallel(8, 400, func(int) error {
		ctx, cancel := context.WithTimeout(ctx, time.Millisecond)
		defer cancel()
		_, err := c.encrypt(ctx, newSeed())
		return wantCode(err, codes.OK, codes.DeadlineExceeded)
	})
	if err != nil {
		return err
	}
	return c.roundTrip(ctx)
}

func pastDeadline(ctx context.Context, c *client) error {
	late, cancel := context.WithDeadline(ctx, time.Unix(1, 0))
	defer cancel()
	_, err := c.encrypt(late, newSeed())
	if err := wantCode(err, codes.DeadlineExceeded); err != nil {
		return err
	}
	return c.roundTrip(ctx)
}
