// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	kmsv1 "k8s.io/kms/apis/v1beta1"
	kmsv2 "k8s.io/kms/apis/v2"
)

// client is one gRPC connection, dialed as the apiserver dials it.
type client struct {
	conn    *grpc.ClientConn
	v1      kmsv1.KeyManagementServiceClient
	v2      kmsv2.KeyManagementServiceClient
	timeout time.Duration
	dials   atomic.Int32
}

func dial(e *env, extra ...grpc.DialOption) (*client, error) {
	c := &client{timeout: e.timeout}
	options := []grpc.DialOption{
		grpc.WithAuthority("localhost"),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.WaitForReady(true)),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			c.dials.Add(1)
			var d net.Dialer
			return d.DialContext(ctx, "unix", e.socket)
		}),
	}
	conn, err := grpc.NewClient("passthrough:///"+e.socket, append(options, extra...)...)
	if err != nil {
		return nil, err
	}
	c.conn = conn
	c.v1 = kmsv1.NewKeyManagementServiceClient(conn)
	c.v2 = kmsv2.NewKeyManagementServiceClient(conn)
	return c, nil
}

func (c *client) close() { c.conn.Close() }

func (c *client) status(ctx context.Context) (*kmsv2.StatusResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	return c.v2.Status(ctx, &kmsv2.StatusRequest{})
}

func (c *client) encrypt(ctx context.Context, plain []byte) (*kmsv2.EncryptResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	return c.v2.Encrypt(ctx, &kmsv2.EncryptRequest{Plaintext: plain, Uid: "kmsclient"})
}

// decrypt gives back what encrypt returned, as the apiserver does.
func (c *client) decrypt(ctx context.Context, r *kmsv2.EncryptResponse) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	response, err := c.v2.Decrypt(ctx, &kmsv2.DecryptRequest{
		Ciphertext:  r.Ciphertext,
		KeyId:       r.KeyId,
		Annotations: r.Annotations,
		Uid:         "kmsclient",
	})
	return response.GetPlaintext(), err
}

// invoke sends bytes as the message of a call, whatever they are.
func (c *client) invoke(ctx context.Context, method string, message []byte,
	options ...grpc.CallOption) error {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	var answer []byte
	return c.conn.Invoke(ctx, method, message, &answer, append(options, grpc.ForceCodec(rawCodec{}))...)
}

// roundTrip encrypts a fresh seed and decrypts it again.
func (c *client) roundTrip(ctx context.Context) error {
	seed := newSeed()
	sealed, err := c.encrypt(ctx, seed)
	if err != nil {
		return fmt.Errorf("Encrypt: %w", err)
	}
	plain, err := c.decrypt(ctx, sealed)
	if err != nil {
		return fmt.Errorf("Decrypt: %w", err)
	}
	if !bytes.Equal(plain, seed) {
		return errors.New("Decrypt returned another seed")
	}
	return nil
}

// oneConnection fails if the connection was lost and made anew.
func (c *client) oneConnection() error {
	if n := c.dials.Load(); n != 1 {
		return fmt.Errorf("connected %d times, expected that one connection survives", n)
	}
	return nil
}

func newSeed() []byte {
	seed := make([]byte, 32)
	rand.Read(seed)
	return seed
}

// wantCode checks the status of a call. codes.OK may be among those expected.
func wantCode(err error, expected ...codes.Code) error {
	got := status.Code(err)
	if slices.Contains(expected, got) {
		return nil
	}
	if err == nil {
		return fmt.Errorf("succeeded, expected %v", expected)
	}
	return fmt.Errorf("got %v (%q), expected %v", got, status.Convert(err).Message(), expected)
}

// rawCodec leaves messages alone; its name makes the content-type the usual one.
type rawCodec struct{}

func (rawCodec) Name() string { return "proto" }

func (rawCodec) Marshal(v any) ([]byte, error) { return v.([]byte), nil }

func (rawCodec) Unmarshal(data []byte, v any) error {
	*v.(*[]byte) = bytes.Clone(data)
	return nil
}
