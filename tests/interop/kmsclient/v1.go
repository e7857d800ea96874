// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"google.golang.org/grpc/codes"

	kmsv1 "k8s.io/kms/apis/v1beta1"
)

func runV1(ctx context.Context, e *env, args []string) error {
	if err := noArgs(args); err != nil {
		return err
	}
	c, err := dial(e)
	if err != nil {
		return err
	}
	defer c.close()
	e.test("version", func() error { return checkVersion(ctx, c) })
	e.test("ping", func() error { return checkPing(ctx, c) })
	e.test("tampered_cipher", func() error { return tamperV1(ctx, c) })
	e.test("malformed", func() error { return malformedV1(ctx, c) })

	server, err := newHealthyAPIServer(ctx, e, "v1")
	if err != nil {
		return err
	}
	defer server.stop()
	values := newValues(e.values)
	// The apiserver reads v1 values as GCM and, when that fails, as CBC, which
	// has no MAC: damage goes unnoticed whenever the padding happens to look
	// right. It cannot when what follows the sealed key is no multiple of 16.
	small := newValue(e.values, 45)

	e.test("round_trip", func() error { return roundTripAll(ctx, server, values, "v1") })
	e.test("second_apiserver_reads", func() error { return readAllElsewhere(ctx, e, values, "v1") })
	e.test("wrong_path_refused", func() error { return refuseWrongPaths(ctx, server, small, "v1") })
	e.test("every_bit_matters", func() error { return refuseFlips(ctx, server, small, "v1") })
	e.test("one_connection", c.oneConnection)
	return nil
}

func (c *client) encryptV1(ctx context.Context, plain []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	response, err := c.v1.Encrypt(ctx, &kmsv1.EncryptRequest{Version: "v1beta1", Plain: plain})
	return response.GetCipher(), err
}

func (c *client) decryptV1(ctx context.Context, text []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	response, err := c.v1.Decrypt(ctx, &kmsv1.DecryptRequest{Version: "v1beta1", Cipher: text})
	return response.GetPlain(), err
}

func checkVersion(ctx context.Context, c *client) error {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	response, err := c.v1.Version(ctx, &kmsv1.VersionRequest{Version: "v1beta1"})
	if err != nil {
		return err
	}
	if response.Version != "v1beta1" {
		return fmt.Errorf("version %q, expected v1beta1", response.Version)
	}
	if response.RuntimeName == "" || response.RuntimeVersion == "" {
		return errors.New("the runtime has no name or no version")
	}
	return nil
}

// checkPing does what the apiserver's health check for v1 does.
func checkPing(ctx context.Context, c *client) error {
	text, err := c.encryptV1(ctx, []byte("ping"))
	if err != nil {
		return err
	}
	plain, err := c.decryptV1(ctx, text)
	if err != nil {
		return err
	}
	if !bytes.Equal(plain, []byte("ping")) {
		return errors.New("Decrypt returned something else")
	}
	return nil
}

func tamperV1(ctx context.Context, c *client) error {
	text, err := c.encryptV1(ctx, newSeed())
	if err != nil {
		return err
	}
	// The apiserver writes the length of the ciphertext in 16 bits.
	if len(text) == 0 || len(text) > 0xffff {
		return fmt.Errorf("the ciphertext has %d bytes", len(text))
	}
	tail := bytes.Clone(text)
	tail[len(tail)-1] ^= 1
	_, err = c.decryptV1(ctx, tail)
	if err := wantCode(err, codes.DataLoss); err != nil {
		return err
	}
	return inParallel(32, 8*len(text), func(bit int) error {
		damaged := bytes.Clone(text)
		damaged[bit/8] ^= 1 << (bit % 8)
		_, err := c.decryptV1(ctx, damaged)
		if err := wantCode(err, refused...); err != nil {
			return fmt.Errorf("bit %d of byte %d: %w", bit%8, bit/8, err)
		}
		return nil
	})
}

func malformedV1(ctx context.Context, c *client) error {
	_, err := c.decryptV1(ctx, nil)
	if err := wantCode(err, codes.InvalidArgument); err != nil {
		return fmt.Errorf("no cipher: %w", err)
	}
	err = c.invoke(ctx, "/v1beta1.KeyManagementService/Encrypt", []byte{0x12, 0x7f, 1})
	if err := wantCode(err, codes.InvalidArgument); err != nil {
		return fmt.Errorf("length beyond the end: %w", err)
	}
	err = c.invoke(ctx, "/v1beta1.KeyManagementService/Status", nil)
	if err := wantCode(err, codes.Unimplemented); err != nil {
		return fmt.Errorf("a method of v2: %w", err)
	}
	return nil
}
