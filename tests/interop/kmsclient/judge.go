// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"strings"
	"time"

	"k8s.io/apiserver/pkg/server/options/encryptionconfig"
	"k8s.io/kms/pkg/service"
	"k8s.io/kms/pkg/util"
)

// runJudge prints one line per file: "accept FILE" or "refuse FILE: reason".
// It runs all of LoadEncryptionConfig, because some rules are checked only
// while the transformers are built, for example a resource hidden by an earlier
// wildcard. No plugin is needed and none is called.
func runJudge(ctx context.Context, _ *env, args []string) error {
	flags := flag.NewFlagSet("judge", flag.ContinueOnError)
	reload := flags.Bool("reload", false, "apply the rules of automatic reload")
	noV1 := flags.Bool("no-v1", false, "leave the feature gate KMSv1 closed, as it is by default")
	if err := flags.Parse(args); err != nil || flags.NArg() == 0 {
		return errUsage("expected [-reload] [-no-v1] FILE...")
	}
	if !*noV1 {
		if err := enableV1(); err != nil {
			return err
		}
	}
	encryptionconfig.EnvelopeKMSv2ServiceFactory = newDeadService
	for _, path := range flags.Args() {
		if err := judge(ctx, path, *reload); err != nil {
			fmt.Printf("refuse %s: %s\n", path, oneLine(err))
		} else {
			fmt.Printf("accept %s\n", path)
		}
	}
	return nil
}

func judge(ctx context.Context, path string, reload bool) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // also ends the goroutines that poll the plugins
	return guarded(func() error {
		_, err := encryptionconfig.LoadEncryptionConfig(ctx, path, reload, "kmsclient")
		return err
	})
}

func oneLine(err error) string {
	return strings.Join(strings.Fields(err.Error()), " ")
}

// deadService stands for a plugin that is down, which is no reason for
// LoadEncryptionConfig to refuse a file. Without it every kms v2 entry would
// cost the timeout of one call.
type deadService struct{}

var errDead = errors.New("no plugin is called")

func newDeadService(_ context.Context, endpoint, _ string, _ time.Duration) (service.Service, error) {
	if _, err := util.ParseEndpoint(endpoint); err != nil {
		return nil, err
	}
	return deadService{}, nil
}

func (deadService) Status(context.Context) (*service.StatusResponse, error) {
	return nil, errDead
}

func (deadService) Encrypt(context.Context, string, []byte) (*service.EncryptResponse, error) {
	return nil, errDead
}

func (deadService) Decrypt(context.Context, string, *service.DecryptRequest) ([]byte, error) {
	return nil, errDead
}
