// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"math"

	"k8s.io/apiserver/pkg/server/options/encryptionconfig"
)

// The providers without a plugin: a configuration with keys in it, values that
// one side stores and the other opens. The file between them has one JSON
// object a line and says the plaintext, so that either side can be anybody.

const (
	chainValues = 40
	chainMax    = 70_000
	// Up to this size every byte of a stored value is damaged in its turn.
	chainSmall = 160
)

// chainValue is one line. Both byte strings are base64 in it.
type chainValue struct {
	Path      string `json:"path"`
	Plaintext []byte `json:"plaintext"`
	Stored    []byte `json:"stored"`
}

// loadChain is an apiserver with a configuration that is already in a file.
func loadChain(ctx context.Context, path string) (*apiserver, error) {
	ctx, cancel := context.WithCancel(ctx)
	config, err := encryptionconfig.LoadEncryptionConfig(ctx, path, false, "kmsclient")
	if err != nil {
		cancel()
		return nil, err
	}
	transformer := config.Transformers[secrets]
	if transformer == nil {
		cancel()
		return nil, fmt.Errorf("%s has no transformer for secrets", path)
	}
	return &apiserver{config: config, transformer: transformer, stop: cancel}, nil
}

// newChainValues mixes the sizes around blocks, pages and 64 KiB with sizes
// spread evenly over the logarithm.
func newChainValues() []*chainValue {
	sizes := []int{0, 1, 15, 16, 17, 31, 32, 33, 63, 64, 65, 255, 256, 257,
		4095, 4096, 4097, 65535, 65536, 65537, chainMax}
	for i := len(sizes); i < chainValues; i++ {
		sizes = append(sizes, int(math.Pow(chainMax, float64(i)/chainValues)))
	}
	values := make([]*chainValue, len(sizes))
	for i, size := range sizes {
		path := fmt.Sprintf("/registry/secrets/ns/name%d", i)
		values[i] = &chainValue{Path: path, Plaintext: (&value{Path: path, Size: size}).plain()}
	}
	return values
}

func runChainWrite(ctx context.Context, e *env, args []string) error {
	if len(args) != 2 {
		return errUsage("expected CONFIG FILE")
	}
	server, err := loadChain(ctx, args[0])
	if err != nil {
		return err
	}
	defer server.stop()
	values := newChainValues()
	e.test("stored", func() error {
		for _, v := range values {
			if v.Stored, err = server.write(ctx, v.Path, v.Plaintext); err != nil {
				return fmt.Errorf("writing %s, %d bytes: %w", v.Path, len(v.Plaintext), err)
			}
		}
		return saveLines(args[1], values)
	})
	return nil
}

// chainReader is one run of chain-read.
type chainReader struct {
	server *apiserver
	values []*chainValue
	stale  bool
}

// runChainRead takes values that this configuration's first key wrote, unless
// -stale says otherwise. The first value speaks for the provider of all.
func runChainRead(ctx context.Context, e *env, args []string) error {
	flags := flag.NewFlagSet("chain-read", flag.ContinueOnError)
	stale := flags.Bool("stale", false, "every value must be stale, not none of them")
	if err := flags.Parse(args); err != nil || flags.NArg() != 2 {
		return errUsage("expected [-stale] CONFIG FILE")
	}
	server, err := loadChain(ctx, flags.Arg(0))
	if err != nil {
		return err
	}
	defer server.stop()
	values, err := loadLines[chainValue](flags.Arg(1))
	if err != nil {
		return err
	}
	r := &chainReader{server: server, values: values, stale: *stale}
	aesgcm, secretbox := values[0].storedBy("aesgcm"), values[0].storedBy("secretbox")
	e.test("readable", func() error { return r.each(ctx, r.readable) })
	e.test("staleness", func() error { return r.each(ctx, r.staleness) })
	if aesgcm || secretbox {
		e.test("damage_refused", func() error { return r.each(ctx, r.damageRefused) })
	}
	if aesgcm {
		e.test("wrong_path_refused", func() error { return r.each(ctx, r.wrongPathRefused) })
	}
	return nil
}

// each stops at the first value that fails, and says which it is.
func (r *chainReader) each(ctx context.Context, check func(context.Context, *chainValue) error) error {
	for _, v := range r.values {
		if err := check(ctx, v); err != nil {
			return fmt.Errorf("%s, %d bytes: %w", v.Path, len(v.Plaintext), err)
		}
	}
	return nil
}

func (r *chainReader) readable(ctx context.Context, v *chainValue) error {
	plain, _, err := r.server.read(ctx, v.Path, v.Stored)
	if err == nil && !bytes.Equal(plain, v.Plaintext) {
		err = errors.New("read another value than was written")
	}
	return err
}

func (r *chainReader) staleness(ctx context.Context, v *chainValue) error {
	_, stale, err := r.server.read(ctx, v.Path, v.Stored)
	if err == nil && stale != r.stale {
		err = fmt.Errorf("stale is %t, expected %t", stale, r.stale)
	}
	return err
}

// damageRefused flips one bit of every byte behind the prefix of a small value,
// and of the first, the middle and the last byte of a large one. AES-CBC has no
// MAC, so this is not for its values.
func (r *chainReader) damageRefused(ctx context.Context, v *chainValue) error {
	body := v.bodyOffset()
	if body == len(v.Stored) {
		return errors.New("there is nothing behind the prefix")
	}
	last := len(v.Stored) - 1
	offsets := []int{body, (body + last) / 2, last}
	if len(v.Stored) <= chainSmall {
		offsets = nil
		for i := body; i <= last; i++ {
			offsets = append(offsets, i)
		}
	}
	damaged := bytes.Clone(v.Stored)
	for _, i := range offsets {
		damaged[i] ^= 1 << (i % 8)
		if _, _, err := r.server.read(ctx, v.Path, damaged); err == nil {
			return fmt.Errorf("damage to byte %d of %d went unnoticed", i, len(damaged))
		}
		damaged[i] = v.Stored[i]
	}
	return nil
}

// wrongPathRefused is for AES-GCM alone: the others do not bind the path.
func (r *chainReader) wrongPathRefused(ctx context.Context, v *chainValue) error {
	if _, _, err := r.server.read(ctx, v.Path+"x", v.Stored); err == nil {
		return errors.New("read under another path")
	}
	return nil
}

func (v *chainValue) storedBy(provider string) bool {
	return bytes.HasPrefix(v.Stored, []byte("k8s:enc:"+provider+":v1:"))
}

// bodyOffset is behind the prefix k8s:enc:PROVIDER:v1:KEY: of a stored value.
func (v *chainValue) bodyOffset() int {
	fields := bytes.SplitAfterN(v.Stored, []byte(":"), 6)
	return len(v.Stored) - len(fields[len(fields)-1])
}
