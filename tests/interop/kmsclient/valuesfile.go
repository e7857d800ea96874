// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"sync/atomic"
)

// runWrite keeps stored forms, one JSON object a line. The plaintexts are not
// in the file; see value.plain.
func runWrite(ctx context.Context, e *env, args []string) error {
	flags := flag.NewFlagSet("write", flag.ContinueOnError)
	api := flags.String("api", "v2", "version of the KMS protocol")
	if err := flags.Parse(args); err != nil || flags.NArg() != 1 || !isVersion(*api) {
		return errUsage("expected [-api=v1|v2] FILE")
	}
	server, err := newHealthyAPIServer(ctx, e, *api)
	if err != nil {
		return err
	}
	defer server.stop()
	values := newValues(e.values)
	e.test("stored", func() error {
		if err := roundTripAll(ctx, server, values, *api); err != nil {
			return err
		}
		return saveLines(flags.Arg(0), values)
	})
	return nil
}

func isVersion(api string) bool { return api == "v1" || api == "v2" }

// saveLines writes one JSON object a line.
func saveLines[T any](path string, values []*T) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	encoder := json.NewEncoder(file)
	for _, v := range values {
		if err := encoder.Encode(v); err != nil {
			file.Close()
			return err
		}
	}
	return file.Close()
}

func loadLines[T any](path string) ([]*T, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	var values []*T
	for decoder := json.NewDecoder(file); decoder.More(); {
		v := new(T)
		if err := decoder.Decode(v); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		values = append(values, v)
	}
	if len(values) == 0 {
		return nil, fmt.Errorf("%s holds no values", path)
	}
	return values, nil
}

// runVerify uses an apiserver that has never seen the values. After a rotation
// they are stale: still readable, to be written again. With v1 nothing is ever
// stale, because the apiserver is not told which key the plugin used.
func runVerify(ctx context.Context, e *env, args []string) error {
	flags := flag.NewFlagSet("verify", flag.ContinueOnError)
	stale := flags.String("stale", "any", "whether the values must be stale: no, yes or any")
	api := flags.String("api", "v2", "version of the KMS protocol")
	if err := flags.Parse(args); err != nil || flags.NArg() != 1 || !isVersion(*api) {
		return errUsage("expected [-api=v1|v2] [-stale=no|yes|any] FILE")
	}
	if *stale != "no" && *stale != "yes" && *stale != "any" {
		return errUsage("-stale is no, yes or any")
	}
	values, err := loadLines[value](flags.Arg(0))
	if err != nil {
		return err
	}
	server, err := newHealthyAPIServer(ctx, e, *api)
	if err != nil {
		return err
	}
	defer server.stop()
	e.test("readable", func() error { return verifyValues(ctx, e, server, values, *stale) })
	return nil
}

func verifyValues(ctx context.Context, e *env, server *apiserver, values []*value, expected string) error {
	var count atomic.Int64
	err := inParallel(32, len(values), func(i int) error {
		stale, err := values[i].load(ctx, server)
		if stale {
			count.Add(1)
		}
		return err
	})
	if err != nil {
		return err
	}
	e.note("%d values, %d of them stale", len(values), count.Load())
	if expected == "no" && count.Load() != 0 || expected == "yes" && int(count.Load()) != len(values) {
		return fmt.Errorf("%d of %d values are stale, expected: %s", count.Load(), len(values), expected)
	}
	return nil
}
