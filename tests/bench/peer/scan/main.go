// SPDX-License-Identifier: Apache-2.0

// Scan opens every value of a dump as `etcdctl get -w json` prints it, in its own process, and says how many
// there were: what somebody writes who wants to know whether a backup can be read, in Go instead of
// `kekctl scan --verify`.
//
//	scan simple|careful FILE kms:SOCKET|key:FILE
//
// simple.go is the program of an afternoon; careful.go is the same by somebody who has profiled it. Values
// are those of KMS v2 with a seed, which the plugin at SOCKET gives back once, or of aesgcm with the key in
// FILE, 32 bytes. A value that does not open ends it.
package main

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	kmsv2 "k8s.io/kms/apis/v2"
)

var (
	kmsPrefix = []byte("k8s:enc:kms:v2:")
	gcmPrefix = []byte("k8s:enc:aesgcm:v1:")

	errValue = errors.New("not a value of this scan")
)

// What opens values: a key, or a plugin that gives seeds.
type opener struct {
	aead   cipher.AEAD
	plugin kmsv2.KeyManagementServiceClient
}

func newOpener(how string) (*opener, error) {
	if path, found := strings.CutPrefix(how, "key:"); found {
		key, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		aead, err := newGCM(key)
		return &opener{aead: aead}, err
	}
	path, found := strings.CutPrefix(how, "kms:")
	if !found {
		return nil, fmt.Errorf("neither kms:SOCKET nor key:FILE: %s", how)
	}
	conn, err := grpc.NewClient("unix:"+path, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, err
	}
	return &opener{plugin: kmsv2.NewKeyManagementServiceClient(conn)}, nil
}

func newGCM(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

func (o *opener) askSeed(keyID string, sealed []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	answer, err := o.plugin.Decrypt(ctx, &kmsv2.DecryptRequest{Ciphertext: sealed, KeyId: keyID, Uid: "scan"})
	if err != nil {
		return nil, err
	}
	return answer.Plaintext, nil
}

// cut takes the prefix and the name behind it away.
func cut(value, prefix []byte) ([]byte, error) {
	rest, found := bytes.CutPrefix(value, prefix)
	at := bytes.IndexByte(rest, ':')
	if !found || at < 0 {
		return nil, errValue
	}
	return rest[at+1:], nil
}

func run(args []string) (int, error) {
	if len(args) != 3 {
		return 0, errors.New("usage: scan simple|careful FILE kms:SOCKET|key:FILE")
	}
	opener, err := newOpener(args[2])
	if err != nil {
		return 0, err
	}
	switch args[0] {
	case "simple":
		return simple(args[1], opener)
	case "careful":
		return careful(args[1], opener)
	}
	return 0, fmt.Errorf("neither simple nor careful: %s", args[0])
}

func main() {
	opened, err := run(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "scan:", err)
		os.Exit(1)
	}
	fmt.Println(opened)
}
