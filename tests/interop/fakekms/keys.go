// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
)

var (
	errMalformedText = errors.New("ciphertext is malformed")
	errUnknownKey    = errors.New("no key has this id")
	errDamaged       = errors.New("ciphertext is damaged")
)

// keyring derives one AES-256 key per generation from a root. Every generation
// up to the current one can decrypt; the current one encrypts. A plugin
// restarted with the same -seed begins again at generation 0.
type keyring struct {
	root    [32]byte
	label   string // tells the keyrings of different seeds apart; not secret
	current atomic.Uint64
}

// newKeyring takes a random root when seed is empty.
func newKeyring(seed string) (*keyring, error) {
	k := &keyring{}
	if seed != "" {
		k.root = sha256.Sum256([]byte("root:" + seed))
	} else if _, err := rand.Read(k.root[:]); err != nil {
		return nil, err
	}
	label := sha256.Sum256(append([]byte("label:"), k.root[:]...))
	k.label = fmt.Sprintf("fake-%x", label[:6])
	return k, nil
}

func (k *keyring) rotate() {
	k.current.Add(1)
}

func (k *keyring) id(generation uint64) string {
	return fmt.Sprintf("%s.%d", k.label, generation)
}

func (k *keyring) currentID() string {
	return k.id(k.current.Load())
}

func (k *keyring) generation(id string) (uint64, error) {
	text, found := strings.CutPrefix(id, k.label+".")
	if !found {
		return 0, errUnknownKey
	}
	generation, err := strconv.ParseUint(text, 10, 64)
	// Only the canonical spelling: "01" is not a second name of "1".
	if err != nil || generation > k.current.Load() || k.id(generation) != id {
		return 0, errUnknownKey
	}
	return generation, nil
}

func (k *keyring) aead(generation uint64) (cipher.AEAD, error) {
	key := sha256.Sum256(binary.BigEndian.AppendUint64(k.root[:], generation))
	block, err := aes.NewCipher(key[:])
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// seal encrypts under the current key and returns that key's id with it, so
// that a rotation in between cannot part the two.
func (k *keyring) seal(plain, aad []byte) (text []byte, id string, err error) {
	generation := k.current.Load()
	aead, err := k.aead(generation)
	if err != nil {
		return nil, "", err
	}
	return aead.Seal(nil, nil, plain, aad), k.id(generation), nil
}

func (k *keyring) open(text, aad []byte, id string) ([]byte, error) {
	generation, err := k.generation(id)
	if err != nil {
		return nil, err
	}
	aead, err := k.aead(generation)
	if err != nil {
		return nil, err
	}
	if len(text) < aead.Overhead() {
		return nil, errMalformedText
	}
	plain, err := aead.Open(nil, nil, text, aad)
	if err != nil {
		return nil, errDamaged
	}
	return plain, nil
}
