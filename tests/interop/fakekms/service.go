// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"maps"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	kmsv1 "k8s.io/kms/apis/v1beta1"
	"k8s.io/kms/pkg/service"
)

var errMalformed = status.Error(codes.InvalidArgument, "request is malformed")

// maxPlain keeps a v2 ciphertext below the 1024 bytes that the apiserver takes.
const maxPlain = 512

// An annotation that never changes. The apiserver has to store it and to hand
// it back, so that the whole way of annotations is exercised; it is bound into
// the ciphertext together with the key id.
const annotationName = "purpose.fakekms.example"

var annotation = []byte("seed")

func (f *fault) annotations() map[string][]byte {
	all := map[string][]byte{annotationName: bytes.Clone(annotation)}
	if f.wordy {
		all["essay."+annotationName] = bytes.Repeat([]byte{'w'}, 30000)
	}
	return all
}

// toStatus turns what the keyring says into the code an operator expects.
func toStatus(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, errUnknownKey):
		return status.Error(codes.FailedPrecondition, err.Error())
	case errors.Is(err, errDamaged):
		return status.Error(codes.DataLoss, err.Error())
	case errors.Is(err, errMalformedText):
		return status.Error(codes.InvalidArgument, err.Error())
	default:
		return status.Error(codes.Internal, err.Error())
	}
}

// v2Service implements service.Service of k8s.io/kms.
type v2Service struct {
	keys  *keyring
	fault *fault
}

func (s *v2Service) Status(context.Context) (*service.StatusResponse, error) {
	if s.fault.restless {
		s.keys.rotate()
	}
	return &service.StatusResponse{Version: "v2", Healthz: s.fault.healthz(), KeyID: s.keys.currentID()}, nil
}

func (s *v2Service) Encrypt(_ context.Context, _ string,
	plain []byte) (*service.EncryptResponse, error) {
	if len(plain) > maxPlain {
		return nil, errMalformed
	}
	text, id, err := s.keys.seal(plain, annotation)
	if err != nil {
		return nil, toStatus(err)
	}
	response := &service.EncryptResponse{Ciphertext: text, KeyID: id, Annotations: s.fault.annotations()}
	return s.fault.spoilEncrypt(plain, response), nil
}

func (s *v2Service) Decrypt(_ context.Context, _ string,
	request *service.DecryptRequest) ([]byte, error) {
	if s.fault.forgiving {
		return bytes.Repeat([]byte{7}, 32), nil
	}
	if len(request.Ciphertext) == 0 || len(request.KeyID) == 0 {
		return nil, errMalformed
	}
	if !s.fault.lax && !maps.EqualFunc(request.Annotations, s.fault.annotations(), bytes.Equal) {
		return nil, errMalformed
	}
	plain, err := s.keys.open(request.Ciphertext, annotation, request.KeyID)
	if err != nil {
		return nil, toStatus(err)
	}
	return s.fault.spoilPlain(plain), nil
}

// v1Service implements KMS v1beta1. There is no key_id in this protocol, so
// the ciphertext begins with it: one byte of length, the id, then the text.
type v1Service struct {
	kmsv1.UnimplementedKeyManagementServiceServer
	keys  *keyring
	fault *fault
}

var v1AAD = []byte("v1beta1")

func (s *v1Service) Version(context.Context,
	*kmsv1.VersionRequest) (*kmsv1.VersionResponse, error) {
	return &kmsv1.VersionResponse{Version: "v1beta1", RuntimeName: "fakekms", RuntimeVersion: "0.0.1"}, nil
}

func (s *v1Service) Encrypt(_ context.Context,
	request *kmsv1.EncryptRequest) (*kmsv1.EncryptResponse, error) {
	if len(request.Plain) > maxPlain {
		return nil, errMalformed
	}
	text, id, err := s.keys.seal(request.Plain, v1AAD)
	if err != nil {
		return nil, toStatus(err)
	}
	framed := append([]byte{byte(len(id))}, id...)
	return &kmsv1.EncryptResponse{Cipher: append(framed, text...)}, nil
}

func (s *v1Service) Decrypt(_ context.Context,
	request *kmsv1.DecryptRequest) (*kmsv1.DecryptResponse, error) {
	if s.fault.forgiving {
		return &kmsv1.DecryptResponse{Plain: bytes.Repeat([]byte{7}, 32)}, nil
	}
	framed := request.Cipher
	if len(framed) == 0 || len(framed) < 1+int(framed[0]) {
		return nil, errMalformed
	}
	end := 1 + int(framed[0])
	plain, err := s.keys.open(framed[end:], v1AAD, string(framed[1:end]))
	if err != nil {
		return nil, toStatus(err)
	}
	return &kmsv1.DecryptResponse{Plain: s.fault.spoilPlain(plain)}, nil
}
