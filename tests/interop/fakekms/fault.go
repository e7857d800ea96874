// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"k8s.io/kms/pkg/service"
)

const faultUsage = `one of
none
hang         no call is ever answered
late=DUR     every answer is held back for DUR
nonsense     answers that break the rules of the protocol, a different rule each time
forgiving    Decrypt accepts anything
lax          annotations are not bound to the ciphertext
repeat       the same plaintext gives the same ciphertext
ailing       Status says that it is not well
restless     every Status rotates
greedy       messages of any size are read
vague        every error has the code UNKNOWN
wordy        annotations are nearly as long as they may be
noise        the socket does not speak HTTP/2
flaky=N      every Nth call fails with UNAVAILABLE
die-after=N  the process kills itself in the Nth call`

// fault is what the plugin does wrong. It is fixed at start; the zero value
// does nothing wrong.
type fault struct {
	hang, nonsense, forgiving, lax, repeat, ailing, restless, greedy, vague, noise, wordy bool

	late            time.Duration
	flaky, dieAfter uint64

	calls, spoiled atomic.Uint64
	answers        sync.Map // with repeat: plaintext to response
}

func parseFault(text string) (*fault, error) {
	f := &fault{}
	switches := map[string]*bool{
		"none": new(bool), "hang": &f.hang, "nonsense": &f.nonsense, "forgiving": &f.forgiving,
		"lax": &f.lax, "repeat": &f.repeat, "ailing": &f.ailing, "restless": &f.restless,
		"greedy": &f.greedy, "vague": &f.vague, "noise": &f.noise, "wordy": &f.wordy,
	}
	if on := switches[text]; on != nil {
		*on = true
		return f, nil
	}
	name, argument, _ := strings.Cut(text, "=")
	var err error
	switch name {
	case "late":
		f.late, err = time.ParseDuration(argument)
	case "flaky":
		f.flaky, err = strconv.ParseUint(argument, 10, 64)
	case "die-after":
		f.dieAfter, err = strconv.ParseUint(argument, 10, 64)
	default:
		err = fmt.Errorf("unknown fault")
	}
	if err != nil {
		return nil, fmt.Errorf("-fault %s: %w", text, err)
	}
	return f, nil
}

// intercept runs around every call of both versions.
func (f *fault) intercept(ctx context.Context, request any, _ *grpc.UnaryServerInfo,
	handler grpc.UnaryHandler) (any, error) {
	n := f.calls.Add(1)
	if f.dieAfter != 0 && n >= f.dieAfter {
		os.Exit(3)
	}
	if f.flaky != 0 && n%f.flaky == 0 {
		return nil, status.Error(codes.Unavailable, "flaky on request")
	}
	if f.hang {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if f.late > 0 {
		select {
		case <-time.After(f.late):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	response, err := handler(ctx, request)
	if err != nil && f.vague {
		return nil, status.Error(codes.Unknown, "something went wrong")
	}
	return response, err
}

// maxMessage is what grpc-go is told to read at most.
func (f *fault) maxMessage() int {
	if f.greedy {
		return 1 << 30
	}
	return maxMessage
}

func (f *fault) healthz() string {
	if f.ailing {
		return "not well"
	}
	return "ok"
}

// spoilEncrypt breaks one rule of the protocol per call, in turn.
func (f *fault) spoilEncrypt(plain []byte, r *service.EncryptResponse) *service.EncryptResponse {
	if f.repeat {
		first, _ := f.answers.LoadOrStore(string(plain), r)
		return first.(*service.EncryptResponse)
	}
	if !f.nonsense {
		return r
	}
	switch f.spoiled.Add(1) % 5 {
	case 0:
		r.Ciphertext = nil
	case 1:
		r.Ciphertext = make([]byte, 1025)
	case 2:
		r.KeyID = "not-the-one-of-status"
	case 3:
		r.Annotations = map[string][]byte{"onelabel": nil}
	case 4:
		r.Annotations = map[string][]byte{annotationName: make([]byte, 32<<10)}
	}
	return r
}

// spoilPlain flips a bit of the answer, so that its length still looks right.
func (f *fault) spoilPlain(plain []byte) []byte {
	if f.nonsense && len(plain) > 0 {
		plain[0] ^= 1
	}
	return plain
}

// makeNoise answers every connection with bytes that are not HTTP/2.
func makeNoise(listener net.Listener) error {
	fmt.Println("listening, to make noise")
	for {
		conn, err := listener.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer conn.Close()
			conn.Write([]byte("220 smtp.example ESMTP, you are in the wrong place\r\n"))
			conn.Read(make([]byte, 512))
		}()
	}
}
