// SPDX-License-Identifier: Apache-2.0

// Plugin is a KMS plugin as one writes it in Go: k8s.io/kms/pkg/service on grpc-go with its defaults,
// AES-256-GCM in process under one random key. It is what kekd is measured against, so it does no
// more than it must: the cipher is made once, nothing is logged, nothing is checked twice.
package main

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"google.golang.org/grpc"

	kmsv1 "k8s.io/kms/apis/v1beta1"
	kmsv2 "k8s.io/kms/apis/v2"
	"k8s.io/kms/pkg/service"
)

// As long as kekd's, so that messages weigh about the same.
const keyID = "00112233445566778899aabbccddeeff.1"

func newAEAD() (cipher.AEAD, error) {
	var key [32]byte
	if _, err := rand.Read(key[:]); err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key[:])
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

type v2 struct{ aead cipher.AEAD }

func (s *v2) Status(context.Context) (*service.StatusResponse, error) {
	return &service.StatusResponse{Version: "v2", Healthz: "ok", KeyID: keyID}, nil
}

func (s *v2) Encrypt(_ context.Context, _ string, plain []byte) (*service.EncryptResponse, error) {
	return &service.EncryptResponse{Ciphertext: s.aead.Seal(nil, nil, plain, nil), KeyID: keyID}, nil
}

func (s *v2) Decrypt(_ context.Context, _ string, r *service.DecryptRequest) ([]byte, error) {
	if r.KeyID != keyID {
		return nil, errors.New("unknown key")
	}
	return s.aead.Open(nil, nil, r.Ciphertext, nil)
}

type v1 struct {
	kmsv1.UnimplementedKeyManagementServiceServer
	aead cipher.AEAD
}

func (s *v1) Version(context.Context, *kmsv1.VersionRequest) (*kmsv1.VersionResponse, error) {
	return &kmsv1.VersionResponse{Version: "v1beta1", RuntimeName: "peer", RuntimeVersion: "0.1.0"}, nil
}

func (s *v1) Encrypt(_ context.Context, r *kmsv1.EncryptRequest) (*kmsv1.EncryptResponse, error) {
	return &kmsv1.EncryptResponse{Cipher: s.aead.Seal(nil, nil, r.Plain, nil)}, nil
}

func (s *v1) Decrypt(_ context.Context, r *kmsv1.DecryptRequest) (*kmsv1.DecryptResponse, error) {
	plain, err := s.aead.Open(nil, nil, r.Cipher, nil)
	if err != nil {
		return nil, err
	}
	return &kmsv1.DecryptResponse{Plain: plain}, nil
}

func serve(path string) error {
	aead, err := newAEAD()
	if err != nil {
		return err
	}
	listener, err := net.Listen("unix", path)
	if err != nil {
		return err
	}
	server := grpc.NewServer()
	// The address is for ListenAndServe, which could not serve v1 on the same socket.
	kmsv2.RegisterKeyManagementServiceServer(server,
		service.NewGRPCService("", time.Minute, &v2{aead}))
	kmsv1.RegisterKeyManagementServiceServer(server, &v1{aead: aead})
	return server.Serve(listener)
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: plugin SOCKET")
		os.Exit(2)
	}
	if err := serve(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "plugin:", err)
		os.Exit(1)
	}
}
