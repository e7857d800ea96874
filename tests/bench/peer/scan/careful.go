// SPDX-License-Identifier: Apache-2.0

// The dump is read in a stream and cut at the ends of its elements, which a search for one byte finds, as
// etcdctl's keys and values are base64. Elements go to as many goroutines as there are processors, a
// buffer full at a time; buffers come back. A seed is looked for where the last one was.
package main

import (
	"bufio"
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"hash"
	"io"
	"os"
	"runtime"
	"sync"

	"google.golang.org/protobuf/encoding/protowire"
)

const batchBytes = 256 << 10

var (
	keyMark   = []byte(`"key":"`)
	valueMark = []byte(`"value":"`)
)

// One goroutine's.
type worker struct {
	opener           *opener
	key, value, text []byte
	sealed           []byte // what seed was as the plugin had sealed it
	expand           hash.Hash
	dek              [32]byte
	opened           int
}

func careful(path string, o *opener) (int, error) {
	file, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer file.Close()
	n := runtime.GOMAXPROCS(0)
	full, empty := make(chan []byte, n), make(chan []byte, 2*n+1)
	for range cap(empty) {
		empty <- make([]byte, 0, batchBytes)
	}
	workers, errs := make([]worker, n), make([]error, n)
	var group sync.WaitGroup
	for i := range workers {
		workers[i].opener = o
		group.Go(func() {
			for batch := range full {
				if errs[i] == nil {
					errs[i] = workers[i].batch(batch)
				}
				empty <- batch[:0]
			}
		})
	}
	err = cutBatches(file, full, empty)
	close(full)
	group.Wait()
	opened := 0
	for i := range workers {
		opened += workers[i].opened
	}
	return opened, errors.Join(append(errs, err)...)
}

// cutBatches reads whole elements, from a `{` of theirs to the next `}`.
func cutBatches(file io.Reader, full chan<- []byte, empty <-chan []byte) error {
	r := bufio.NewReaderSize(file, batchBytes)
	if _, err := r.ReadSlice('['); err != nil {
		return err
	}
	batch := <-empty
	for {
		part, err := r.ReadSlice('}')
		batch = append(batch, part...)
		if err == bufio.ErrBufferFull {
			continue
		}
		if len(batch) >= batchBytes*3/4 || err != nil {
			full <- batch
			batch = <-empty
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (w *worker) batch(batch []byte) error {
	for {
		end := bytes.IndexByte(batch, '}')
		if end < 0 {
			return nil
		}
		if bytes.Contains(batch[:end], keyMark) {
			if err := w.element(batch[:end]); err != nil {
				return err
			}
			w.opened++
		}
		batch = batch[end+1:]
	}
}

func (w *worker) element(text []byte) (err error) {
	if w.key, err = decode(w.key, text, keyMark); err != nil {
		return err
	}
	if w.value, err = decode(w.value, text, valueMark); err != nil {
		return err
	}
	return w.open(w.key, w.value)
}

func decode(to, text, mark []byte) ([]byte, error) {
	at := bytes.Index(text, mark)
	if at < 0 {
		return to, errValue
	}
	text = text[at+len(mark):]
	end := bytes.IndexByte(text, '"')
	if end < 0 {
		return to, errValue
	}
	return base64.StdEncoding.AppendDecode(to[:0], text[:end])
}

func (w *worker) open(key, value []byte) error {
	if w.opener.aead != nil {
		body, err := cut(value, gcmPrefix)
		if err != nil || len(body) < 12 {
			return errValue
		}
		w.text, err = w.opener.aead.Open(w.text[:0], body[:12], body[12:], key)
		return err
	}
	body, err := cut(value, kmsPrefix)
	if err != nil {
		return err
	}
	data, keyID, sealed, err := fields(body)
	if err != nil || len(data) < 44 {
		return errValue
	}
	if err := w.seed(keyID, sealed); err != nil {
		return err
	}
	w.derive(data[:32])
	aead, err := newGCM(w.dek[:])
	if err != nil {
		return err
	}
	w.text, err = aead.Open(w.text[:0], data[32:44], data[44:], key)
	return err
}

// fields of an EncryptedObject, without a copy.
func fields(body []byte) (data, keyID, sealed []byte, err error) {
	seed := false
	for len(body) > 0 {
		number, kind, n := protowire.ConsumeTag(body)
		if n < 0 {
			return nil, nil, nil, errValue
		}
		body = body[n:]
		if kind == protowire.VarintType && number == 5 {
			is, _ := protowire.ConsumeVarint(body)
			seed = is == 1
		}
		if kind == protowire.BytesType {
			field, _ := protowire.ConsumeBytes(body)
			switch number {
			case 1:
				data = field
			case 2:
				keyID = field
			case 3:
				sealed = field
			}
		}
		if n = protowire.ConsumeFieldValue(number, kind, body); n < 0 {
			return nil, nil, nil, errValue
		}
		body = body[n:]
	}
	if !seed {
		return nil, nil, nil, errValue
	}
	return data, keyID, sealed, nil
}

func (w *worker) seed(keyID, sealed []byte) error {
	if bytes.Equal(w.sealed, sealed) {
		return nil
	}
	seed, err := w.opener.askSeed(string(keyID), sealed)
	if err != nil {
		return err
	}
	w.expand = hmac.New(sha256.New, seed)
	w.sealed = bytes.Clone(sealed)
	return nil
}

// derive is HKDF-Expand of RFC 5869 for one block of output.
func (w *worker) derive(info []byte) {
	w.expand.Reset()
	w.expand.Write(info)
	w.expand.Write([]byte{1})
	w.expand.Sum(w.dek[:0])
}
