// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"os"

	"golang.org/x/crypto/hkdf"
	"google.golang.org/protobuf/proto"

	envelope "k8s.io/apiserver/pkg/storage/value/encrypt/envelope/kmsv2/v2"
)

type dump struct {
	Kvs []struct {
		Key   []byte `json:"key"`
		Value []byte `json:"value"`
	} `json:"kvs"`
}

func simple(path string, o *opener) (int, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	var d dump
	if err := json.Unmarshal(text, &d); err != nil {
		return 0, err
	}
	seeds := map[string][]byte{}
	for _, kv := range d.Kvs {
		if err := openSimply(o, seeds, kv.Key, kv.Value); err != nil {
			return 0, fmt.Errorf("%s: %w", kv.Key, err)
		}
	}
	return len(d.Kvs), nil
}

func openSimply(o *opener, seeds map[string][]byte, key, value []byte) error {
	if o.aead != nil {
		body, err := cut(value, gcmPrefix)
		if err != nil || len(body) < 12 {
			return errValue
		}
		_, err = o.aead.Open(nil, body[:12], body[12:], key)
		return err
	}
	body, err := cut(value, kmsPrefix)
	if err != nil {
		return err
	}
	var object envelope.EncryptedObject
	if err := proto.Unmarshal(body, &object); err != nil {
		return err
	}
	if object.EncryptedDEKSourceType != envelope.EncryptedDEKSourceType_HKDF_SHA256_XNONCE_AES_GCM_SEED ||
		len(object.EncryptedData) < 44 {
		return errValue
	}
	seed, known := seeds[string(object.EncryptedDEKSource)]
	if !known {
		seed, err = o.askSeed(object.KeyID, object.EncryptedDEKSource)
		if err != nil {
			return err
		}
		seeds[string(object.EncryptedDEKSource)] = seed
	}
	data := object.EncryptedData
	dek := make([]byte, 32)
	if _, err := io.ReadFull(hkdf.Expand(sha256.New, seed, data[:32]), dek); err != nil {
		return err
	}
	aead, err := newGCM(dek)
	if err != nil {
		return err
	}
	_, err = aead.Open(nil, data[32:44], data[44:], key)
	return err
}
