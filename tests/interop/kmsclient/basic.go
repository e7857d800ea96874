// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"google.golang.org/grpc"

	"k8s.io/apiserver/pkg/storage/value/encrypt/envelope/kmsv2"
	kmstypes "k8s.io/apiserver/pkg/storage/value/encrypt/envelope/kmsv2/v2"
)

func runBasic(ctx context.Context, e *env, args []string) error {
	if err := noArgs(args); err != nil {
		return err
	}
	c, err := dial(e)
	if err != nil {
		return err
	}
	defer c.close()

	e.test("apiserver_is_healthy", func() error { return checkHealthy(ctx, e) })
	e.test("apiserver_round_trip", func() error { return checkOneValue(ctx, e) })
	e.test("status", func() error { return checkStatus(ctx, c) })
	e.test("key_id_is_stable", func() error { return checkStableKeyID(ctx, c) })
	e.test("encrypt_response", func() error { return checkEncryptResponse(ctx, c) })
	e.test("round_trip", func() error { return c.roundTrip(ctx) })
	e.test("ciphertexts_differ", func() error { return checkFreshNonce(ctx, c) })
	e.test("other_connection_decrypts", func() error { return checkOtherConnection(ctx, e, c) })
	e.test("any_authority", func() error { return checkAuthorities(ctx, e) })
	e.test("one_connection", c.oneConnection)
	return nil
}

func checkHealthy(ctx context.Context, e *env) error {
	server, err := newHealthyAPIServer(ctx, e, "v2")
	if err != nil {
		return err
	}
	server.stop()
	return nil
}

func checkOneValue(ctx context.Context, e *env) error {
	server, err := newHealthyAPIServer(ctx, e, "v2")
	if err != nil {
		return err
	}
	defer server.stop()
	return newValue(0, 100).roundTrip(ctx, server, "v2")
}

func checkStatus(ctx context.Context, c *client) error {
	s, err := c.status(ctx)
	if err != nil {
		return err
	}
	if s.Version != "v2" {
		return fmt.Errorf("version %q, expected v2", s.Version)
	}
	if s.Healthz != "ok" {
		return fmt.Errorf("healthz %q, expected ok", s.Healthz)
	}
	_, err = kmsv2.ValidateKeyID(s.KeyId)
	return err
}

func checkStableKeyID(ctx context.Context, c *client) error {
	first, err := c.status(ctx)
	if err != nil {
		return err
	}
	for range 20 {
		next, err := c.status(ctx)
		if err != nil {
			return err
		}
		if next.KeyId != first.KeyId {
			return fmt.Errorf("key_id changed from %q to %q", first.KeyId, next.KeyId)
		}
	}
	return nil
}

// checkEncryptResponse applies the apiserver's own validation, which it
// repeats on every read from etcd.
func checkEncryptResponse(ctx context.Context, c *client) error {
	s, err := c.status(ctx)
	if err != nil {
		return err
	}
	sealed, err := c.encrypt(ctx, newSeed())
	if err != nil {
		return err
	}
	if sealed.KeyId != s.KeyId {
		return fmt.Errorf("Encrypt used key_id %q, Status shows %q", sealed.KeyId, s.KeyId)
	}
	return kmsv2.ValidateEncryptedObject(&kmstypes.EncryptedObject{
		EncryptedData:          []byte{0},
		KeyID:                  sealed.KeyId,
		EncryptedDEKSource:     sealed.Ciphertext,
		EncryptedDEKSourceType: kmstypes.EncryptedDEKSourceType_HKDF_SHA256_XNONCE_AES_GCM_SEED,
		Annotations:            sealed.Annotations,
	})
}

func checkFreshNonce(ctx context.Context, c *client) error {
	seed := newSeed()
	seen := map[string]bool{}
	for range 100 {
		sealed, err := c.encrypt(ctx, seed)
		if err != nil {
			return err
		}
		if seen[string(sealed.Ciphertext)] {
			return errors.New("the same seed gave the same ciphertext twice")
		}
		if bytes.Contains(sealed.Ciphertext, seed) {
			return errors.New("the ciphertext holds the seed")
		}
		seen[string(sealed.Ciphertext)] = true
	}
	return nil
}

func checkOtherConnection(ctx context.Context, e *env, c *client) error {
	seed := newSeed()
	sealed, err := c.encrypt(ctx, seed)
	if err != nil {
		return err
	}
	other, err := dial(e)
	if err != nil {
		return err
	}
	defer other.close()
	plain, err := other.decrypt(ctx, sealed)
	if err == nil && !bytes.Equal(plain, seed) {
		err = errors.New("Decrypt returned another seed")
	}
	return err
}

// checkAuthorities uses what different apiservers send as :authority. Since
// 1.32 it is localhost for v2; before, and still for v1, it is the path of the
// socket, percent-encoded or, from older grpc-go, raw.
func checkAuthorities(ctx context.Context, e *env) error {
	authorities := []string{"localhost", e.socket, "%2Frun%2Fplugin.sock", "/run/plugin.sock", "a.b:1"}
	for _, authority := range authorities {
		c, err := dial(e, grpc.WithAuthority(authority))
		if err != nil {
			return err
		}
		_, err = c.status(ctx)
		c.close()
		if err != nil {
			return fmt.Errorf("authority %q: %w", authority, err)
		}
	}
	return nil
}
