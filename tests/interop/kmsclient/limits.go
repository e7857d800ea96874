// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	kmsv2 "k8s.io/kms/apis/v2"
)

const (
	maxMessage = 64 << 10
	v2Encrypt  = "/v2.KeyManagementService/Encrypt"
	v2Decrypt  = "/v2.KeyManagementService/Decrypt"
)

func runLimits(ctx context.Context, e *env, args []string) error {
	if err := noArgs(args); err != nil {
		return err
	}
	c, err := dial(e)
	if err != nil {
		return err
	}
	defer c.close()
	sealed, err := c.encrypt(ctx, newSeed())
	if err != nil {
		return err
	}

	e.test("tampered_ciphertext", func() error { return tamperTail(ctx, c, sealed) })
	e.test("every_bit_matters", func() error { return tamperBits(ctx, c, sealed) })
	e.test("every_byte_matters", func() error { return truncate(ctx, c, sealed) })
	e.test("unknown_key_id", func() error { return unknownKeyIDs(ctx, c, sealed) })
	e.test("malformed", func() error { return malformedFields(ctx, c, sealed) })
	e.test("ill_formed_protobuf", func() error { return illFormed(ctx, c) })
	e.test("unknown_field_is_ignored", func() error { return unknownField(ctx, c) })
	e.test("unknown_method", func() error { return unknownMethods(ctx, c) })
	e.test("unknown_compression", func() error { return compressed(ctx, c) })
	e.test("plaintext_too_long", func() error { return longPlaintext(ctx, c) })
	e.test("message_too_long", func() error { return longMessages(ctx, c) })
	e.test("still_serving", func() error { return c.roundTrip(ctx) })
	e.test("one_connection", c.oneConnection)
	return nil
}

func tamperTail(ctx context.Context, c *client, sealed *kmsv2.EncryptResponse) error {
	damaged := proto.CloneOf(sealed)
	damaged.Ciphertext[len(damaged.Ciphertext)-1] ^= 1
	_, err := c.decrypt(ctx, damaged)
	return wantCode(err, codes.DataLoss)
}

// The head of a ciphertext may name a format or a key, so that damage there
// has other codes; what it must not have is success.
var refused = []codes.Code{codes.DataLoss, codes.InvalidArgument, codes.FailedPrecondition}

func tamperBits(ctx context.Context, c *client, sealed *kmsv2.EncryptResponse) error {
	return inParallel(32, 8*len(sealed.Ciphertext), func(bit int) error {
		damaged := proto.CloneOf(sealed)
		damaged.Ciphertext[bit/8] ^= 1 << (bit % 8)
		_, err := c.decrypt(ctx, damaged)
		if err := wantCode(err, refused...); err != nil {
			return fmt.Errorf("bit %d of byte %d: %w", bit%8, bit/8, err)
		}
		return nil
	})
}

func truncate(ctx context.Context, c *client, sealed *kmsv2.EncryptResponse) error {
	longer := proto.CloneOf(sealed)
	longer.Ciphertext = append(longer.Ciphertext, 0)
	_, err := c.decrypt(ctx, longer)
	if err := wantCode(err, refused...); err != nil {
		return fmt.Errorf("one byte more: %w", err)
	}
	return inParallel(32, len(sealed.Ciphertext), func(size int) error {
		shorter := proto.CloneOf(sealed)
		shorter.Ciphertext = shorter.Ciphertext[:size]
		_, err := c.decrypt(ctx, shorter)
		if err := wantCode(err, refused...); err != nil {
			return fmt.Errorf("%d of %d bytes: %w", size, len(sealed.Ciphertext), err)
		}
		return nil
	})
}

func unknownKeyIDs(ctx context.Context, c *client, sealed *kmsv2.EncryptResponse) error {
	id := sealed.KeyId
	last := id[len(id)-1] ^ 1
	// An id that could be another node's is judged by the tag.
	either := []codes.Code{codes.FailedPrecondition, codes.DataLoss}
	if err := unknownKeyID(ctx, c, sealed, "nobody", codes.FailedPrecondition); err != nil {
		return err
	}
	for _, other := range []string{id + "0", id[:len(id)-1], id[:len(id)-1] + string(rune(last))} {
		if other == "" {
			continue
		}
		if err := unknownKeyID(ctx, c, sealed, other, either...); err != nil {
			return err
		}
	}
	return nil
}

func unknownKeyID(ctx context.Context, c *client, sealed *kmsv2.EncryptResponse, other string, want ...codes.Code) error {
	foreign := proto.CloneOf(sealed)
	foreign.KeyId = other
	_, err := c.decrypt(ctx, foreign)
	if err := wantCode(err, want...); err != nil {
		return fmt.Errorf("key_id %q: %w", other, err)
	}
	return nil
}

func malformedFields(ctx context.Context, c *client, sealed *kmsv2.EncryptResponse) error {
	type response = kmsv2.EncryptResponse
	malformed := []codes.Code{codes.InvalidArgument}
	cases := []struct {
		name   string
		change func(*response)
		codes  []codes.Code
	}{
		{"no ciphertext", func(r *response) { r.Ciphertext = nil }, malformed},
		{"no key_id", func(r *response) { r.KeyId = "" }, malformed},
		{"nothing at all", func(r *response) { proto.Reset(r) }, malformed},
		{"key_id of 1025 bytes", func(r *response) { r.KeyId = strings.Repeat("k", 1025) }, refused},
		{"ciphertext of 1025 bytes", func(r *response) { r.Ciphertext = make([]byte, 1025) }, refused},
	}
	for _, test := range cases {
		request := proto.CloneOf(sealed)
		test.change(request)
		_, err := c.decrypt(ctx, request)
		if err := wantCode(err, test.codes...); err != nil {
			return fmt.Errorf("%s: %w", test.name, err)
		}
	}
	return nil
}

func illFormed(ctx context.Context, c *client) error {
	messages := map[string][]byte{
		"length beyond the end": {0x0a, 0x7f, 1, 2, 3},
		"varint without an end": {0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
		"tag without a value":   {0x0a},
		"field number 0":        {0x02, 0x01, 0x41},
		"group without an end":  {0x0b},
		"reserved wire type":    {0x0f},
		"huge length":           {0x0a, 0xff, 0xff, 0xff, 0xff, 0x07},
		"length beyond 64 bits": {0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f},
	}
	for name, message := range messages {
		for _, method := range []string{v2Encrypt, v2Decrypt} {
			if err := wantCode(c.invoke(ctx, method, message), codes.InvalidArgument); err != nil {
				return fmt.Errorf("%s to %s: %w", name, method, err)
			}
		}
	}
	// An annotation that ends inside its map entry; Encrypt has no such field.
	err := c.invoke(ctx, v2Decrypt, []byte{0x22, 0x02, 0x0a, 0x7f})
	if err := wantCode(err, codes.InvalidArgument); err != nil {
		return fmt.Errorf("broken annotation: %w", err)
	}
	return nil
}

// unknownField is what a newer apiserver looks like.
func unknownField(ctx context.Context, c *client) error {
	message, err := proto.Marshal(&kmsv2.EncryptRequest{Plaintext: newSeed(), Uid: "kmsclient"})
	if err != nil {
		return err
	}
	message = protowire.AppendTag(message, 99, protowire.BytesType)
	message = protowire.AppendBytes(message, []byte("from the future"))
	return c.invoke(ctx, v2Encrypt, message)
}

func unknownMethods(ctx context.Context, c *client) error {
	for _, method := range []string{
		"/v2.KeyManagementService/Rotate",
		"/v2.KeyManagementService/encrypt",
		"/v2.KeyManagementService/Encrypt/",
		"/v3.KeyManagementService/Encrypt",
		"/v2.KeyManagementService/" + strings.Repeat("x", 1000),
		"/grpc.health.v1.Health/Check",
		"/x",
	} {
		if err := wantCode(c.invoke(ctx, method, nil), codes.Unimplemented); err != nil {
			return fmt.Errorf("%.60s: %w", method, err)
		}
	}
	return nil
}

func compressed(ctx context.Context, c *client) error {
	message, err := proto.Marshal(&kmsv2.EncryptRequest{Plaintext: newSeed()})
	if err != nil {
		return err
	}
	err = c.invoke(ctx, v2Encrypt, message, grpc.UseCompressor(gzip.Name))
	return wantCode(err, codes.Unimplemented)
}

// A ciphertext may have 1024 bytes, so that there is no answer to this.
func longPlaintext(ctx context.Context, c *client) error {
	for _, size := range []int{1025, 4096, 32 << 10} {
		_, err := c.encrypt(ctx, make([]byte, size))
		if err := wantCode(err, codes.InvalidArgument); err != nil {
			return fmt.Errorf("%d bytes: %w", size, err)
		}
	}
	return nil
}

func longMessages(ctx context.Context, c *client) error {
	for _, size := range []int{maxMessage + 1, 1 << 20, 8 << 20} {
		message := bytes.Repeat([]byte{0x7a}, size)
		if err := wantCode(c.invoke(ctx, v2Encrypt, message), codes.ResourceExhausted); err != nil {
			return fmt.Errorf("%d bytes: %w", size, err)
		}
		if err := c.roundTrip(ctx); err != nil {
			return fmt.Errorf("after %d bytes: %w", size, err)
		}
	}
	// The limit is on the message: one of exactly 64 KiB is read, and then it
	// is not a request.
	err := c.invoke(ctx, v2Encrypt, bytes.Repeat([]byte{0xff}, maxMessage))
	if err == nil {
		return errors.New("64 KiB of nonsense succeeded")
	}
	return nil
}
