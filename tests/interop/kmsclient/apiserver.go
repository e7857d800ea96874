// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/server/options/encryptionconfig"
	storagevalue "k8s.io/apiserver/pkg/storage/value"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
)

// The name of the provider in the configurations we generate. It is part of
// every stored value, so write and verify must agree on it.
const providerName = "kekd"

var secrets = schema.GroupResource{Resource: "secrets"}

// apiserver is the encryption-at-rest part of one kube-apiserver process, with
// caches of its own.
type apiserver struct {
	config      *encryptionconfig.EncryptionConfiguration
	transformer storagevalue.Transformer
	stop        context.CancelFunc
}

// newAPIServer loads a configuration whose only provider is the plugin.
// LoadEncryptionConfig succeeds although the plugin is down: it calls Status
// once and leaves the rest to a goroutine. Only health says whether it worked.
func newAPIServer(ctx context.Context, e *env, version string) (*apiserver, error) {
	dir, err := os.MkdirTemp("", "kmsclient-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "encryption.yaml")
	if err := os.WriteFile(path, []byte(configText(e.socket, version, e.timeout)), 0o600); err != nil {
		return nil, err
	}
	if version == "v1" {
		if err := enableV1(); err != nil {
			return nil, err
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	config, err := encryptionconfig.LoadEncryptionConfig(ctx, path, false, "kmsclient")
	if err != nil {
		cancel()
		return nil, err
	}
	transformer := config.Transformers[secrets]
	if transformer == nil {
		cancel()
		return nil, errors.New("the configuration has no transformer for secrets")
	}
	return &apiserver{config: config, transformer: transformer, stop: cancel}, nil
}

// newHealthyAPIServer is for tests that make no sense on a sick plugin.
func newHealthyAPIServer(ctx context.Context, e *env, version string) (*apiserver, error) {
	server, err := newAPIServer(ctx, e, version)
	if err != nil {
		return nil, err
	}
	if err := server.health(ctx); err != nil {
		server.stop()
		return nil, err
	}
	return server, nil
}

func configText(socket, version string, timeout time.Duration) string {
	return fmt.Sprintf(`apiVersion: apiserver.config.k8s.io/v1
kind: EncryptionConfiguration
resources:
- resources:
  - secrets
  providers:
  - kms:
      apiVersion: %s
      name: %s
      endpoint: "unix://%s"
      timeout: %s
`, version, providerName, socket, timeout)
}

// enableV1 opens the gate that closed in 1.29. It is a flag of the whole process.
func enableV1() error {
	return utilfeature.DefaultMutableFeatureGate.Set("KMSv1=true")
}

// health asks what /healthz and /readyz ask. A good answer is cached for 20
// seconds inside, a bad one for 3.
func (s *apiserver) health(ctx context.Context) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "/healthz", nil)
	if err != nil {
		return err
	}
	if len(s.config.HealthChecks) != 1 {
		return fmt.Errorf("got %d health checks, expected 1", len(s.config.HealthChecks))
	}
	return s.config.HealthChecks[0].Check(request)
}

// The key in etcd is the associated data of a value.
func dataContext(path string) storagevalue.Context {
	return storagevalue.DefaultContext(path)
}

func (s *apiserver) write(ctx context.Context, path string, plain []byte) ([]byte, error) {
	return s.transformer.TransformToStorage(ctx, plain, dataContext(path))
}

func (s *apiserver) read(ctx context.Context, path string, stored []byte) ([]byte, bool, error) {
	return s.transformer.TransformFromStorage(ctx, stored, dataContext(path))
}
