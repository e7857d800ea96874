// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"

	"google.golang.org/protobuf/proto"

	kmstypes "k8s.io/apiserver/pkg/storage/value/encrypt/envelope/kmsv2/v2"
)

const maxValue = 64 << 10

// value is one object in etcd. Its plaintext follows from path and size, so
// that another run can check it without being told.
type value struct {
	Path   string
	Size   int
	Stored []byte
}

func newValue(index, size int) *value {
	return &value{Path: fmt.Sprintf("/registry/secrets/ns-%d/name-%d", index%7, index), Size: size}
}

func (v *value) plain() []byte {
	plain := make([]byte, v.Size)
	seed := sha256.Sum256(fmt.Appendf(nil, "%s %d", v.Path, v.Size))
	rand.NewChaCha8(seed).Read(plain)
	return plain
}

// newValues mixes the sizes at which ciphers make mistakes with sizes spread
// evenly over the logarithm.
func newValues(count int) []*value {
	edges := []int{0, 1, 11, 12, 15, 16, 17, 27, 28, 31, 32, 33, 255, 256, 257,
		4095, 4096, 4097, maxValue - 1, maxValue}
	random := rand.New(rand.NewPCG(1, 2))
	values := make([]*value, count)
	for i := range values {
		size := int(math.Exp(random.Float64() * math.Log(maxValue)))
		if i < len(edges) {
			size = edges[i]
		}
		values[i] = newValue(i, size)
	}
	return values
}

func prefix(version string) []byte {
	return []byte("k8s:enc:kms:" + version + ":" + providerName + ":")
}

func (v *value) store(ctx context.Context, server *apiserver, version string) error {
	stored, err := server.write(ctx, v.Path, v.plain())
	if err != nil {
		return fmt.Errorf("writing %s, %d bytes: %w", v.Path, v.Size, err)
	}
	if !bytes.HasPrefix(stored, prefix(version)) {
		return fmt.Errorf("%s does not begin with %s", v.Path, prefix(version))
	}
	v.Stored = stored
	return nil
}

// load reads the value back and says whether the apiserver would rewrite it.
func (v *value) load(ctx context.Context, server *apiserver) (stale bool, err error) {
	plain, stale, err := server.read(ctx, v.Path, v.Stored)
	if err != nil {
		return false, fmt.Errorf("reading %s, %d bytes: %w", v.Path, v.Size, err)
	}
	if !bytes.Equal(plain, v.plain()) {
		return false, fmt.Errorf("%s, %d bytes: read another value than was written", v.Path, v.Size)
	}
	return stale, nil
}

func (v *value) loadFresh(ctx context.Context, server *apiserver) error {
	stale, err := v.load(ctx, server)
	if err == nil && stale {
		err = fmt.Errorf("%s is stale", v.Path)
	}
	return err
}

func (v *value) roundTrip(ctx context.Context, server *apiserver, version string) error {
	if err := v.store(ctx, server, version); err != nil {
		return err
	}
	return v.loadFresh(ctx, server)
}

func runValues(ctx context.Context, e *env, args []string) error {
	if err := noArgs(args); err != nil {
		return err
	}
	server, err := newHealthyAPIServer(ctx, e, "v2")
	if err != nil {
		return err
	}
	defer server.stop()
	values := newValues(e.values)
	small := newValue(e.values, 45)

	e.test("round_trip", func() error { return roundTripAll(ctx, server, values, "v2") })
	e.test("second_apiserver_reads", func() error { return readAllElsewhere(ctx, e, values, "v2") })
	e.test("wrong_path_refused", func() error { return refuseWrongPaths(ctx, server, small, "v2") })
	e.test("every_bit_matters", func() error { return refuseFlips(ctx, server, small, "v2") })
	e.test("every_byte_matters", func() error { return refuseCuts(ctx, server, small, "v2") })
	e.test("foreign_seed_refused", func() error { return refuseSplice(ctx, e, server) })
	return nil
}

func roundTripAll(ctx context.Context, server *apiserver, values []*value, version string) error {
	for _, v := range values {
		if err := v.roundTrip(ctx, server, version); err != nil {
			return err
		}
	}
	return nil
}

// readAllElsewhere uses an apiserver that has seen none of the values.
func readAllElsewhere(ctx context.Context, e *env, values []*value, version string) error {
	server, err := newHealthyAPIServer(ctx, e, version)
	if err != nil {
		return err
	}
	defer server.stop()
	return inParallel(32, len(values), func(i int) error { return values[i].loadFresh(ctx, server) })
}

func refuseWrongPaths(ctx context.Context, server *apiserver, v *value, version string) error {
	if err := v.roundTrip(ctx, server, version); err != nil {
		return err
	}
	// Not the empty path: the apiserver panics on it (aes/cache.go).
	for _, path := range []string{"/", v.Path + "x", v.Path[:len(v.Path)-1], "/registry/secrets/ns/other"} {
		if _, _, err := server.read(ctx, path, v.Stored); err == nil {
			return fmt.Errorf("value of %q was read under %q", v.Path, path)
		}
	}
	return nil
}

// refuseFlips flips every bit of a stored value. Those in the seed's
// ciphertext, the key_id and the annotations are for the plugin to refuse, the
// others for the apiserver. An annotation that the plugin does not bind to the
// ciphertext fails here.
func refuseFlips(ctx context.Context, server *apiserver, v *value, version string) error {
	if err := v.roundTrip(ctx, server, version); err != nil {
		return err
	}
	return inParallel(32, 8*len(v.Stored), func(bit int) error {
		damaged := bytes.Clone(v.Stored)
		damaged[bit/8] ^= 1 << (bit % 8)
		if _, _, err := server.read(ctx, v.Path, damaged); err == nil {
			return fmt.Errorf("flipped bit %d of byte %d of %d went unnoticed", bit%8, bit/8, len(damaged))
		}
		return nil
	})
}

func refuseCuts(ctx context.Context, server *apiserver, v *value, version string) error {
	if err := v.roundTrip(ctx, server, version); err != nil {
		return err
	}
	if _, _, err := server.read(ctx, v.Path, append(bytes.Clone(v.Stored), 0)); err == nil {
		return errors.New("an appended byte went unnoticed")
	}
	return inParallel(32, len(v.Stored), func(size int) error {
		if _, _, err := server.read(ctx, v.Path, v.Stored[:size]); err == nil {
			return fmt.Errorf("cut to %d of %d bytes, and went unnoticed", size, len(v.Stored))
		}
		return nil
	})
}

// refuseSplice puts the sealed seed of another apiserver into a value.
func refuseSplice(ctx context.Context, e *env, server *apiserver) error {
	other, err := newHealthyAPIServer(ctx, e, "v2")
	if err != nil {
		return err
	}
	defer other.stop()
	mine, theirs := newValue(1, 45), newValue(1, 45)
	if err := mine.roundTrip(ctx, server, "v2"); err != nil {
		return err
	}
	if err := theirs.roundTrip(ctx, other, "v2"); err != nil {
		return err
	}
	spliced, err := splice(mine.Stored, theirs.Stored)
	if err != nil {
		return err
	}
	if _, _, err := server.read(ctx, mine.Path, spliced); err == nil {
		return errors.New("a value was opened with a foreign seed")
	}
	return nil
}

func splice(data, source []byte) ([]byte, error) {
	var into, from kmstypes.EncryptedObject
	head := prefix("v2")
	if err := proto.Unmarshal(data[len(head):], &into); err != nil {
		return nil, err
	}
	if err := proto.Unmarshal(source[len(head):], &from); err != nil {
		return nil, err
	}
	if bytes.Equal(into.EncryptedDEKSource, from.EncryptedDEKSource) {
		return nil, errors.New("two apiservers have the same seed")
	}
	into.EncryptedDEKSource = from.EncryptedDEKSource
	body, err := proto.Marshal(&into)
	return append(head, body...), err
}
