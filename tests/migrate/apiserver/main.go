// SPDX-License-Identifier: Apache-2.0

// Apiserver is a Kubernetes API server for the tests of the migration: k8s.io/apiextensions-apiserver,
// so custom resources on etcd, encrypted by --encryption-provider-config exactly as kube-apiserver
// does it. It stands alone: callers show a token. Whoever has that of the operator may do anything; the user
// kekd-rotate, with a kubeconfig of its own, what the file of --rbac grants, and nothing without.
//
// It says "serving" on standard output once its /readyz does, and writes a kubeconfig before that. The
// port is one that is free, or the one given, so that a restarted server is found where it was.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/pflag"

	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
)

type options struct {
	dir    string // --dir: certificate, token and kubeconfig
	listen string // --listen
	rbac   string // --rbac
	etcd   *pflag.FlagSet
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "apiserver:", err)
		os.Exit(1)
	}
}

func run() error {
	var o options

	klog.InitFlags(flag.CommandLine)
	flags := pflag.NewFlagSet("apiserver", pflag.ContinueOnError)
	flags.AddGoFlagSet(flag.CommandLine)
	flags.StringVar(&o.dir, "dir", "", "directory for the certificate, the token and the kubeconfig")
	flags.StringVar(&o.listen, "listen", "127.0.0.1:0", "address to serve on")
	flags.StringVar(&o.rbac, "rbac", "", "file with ClusterRoles and ClusterRoleBindings, for the user kekd-rotate")
	server := newServer(flags)
	if err := flags.Parse(os.Args[1:]); err != nil {
		return err
	}
	if o.dir == "" || flags.NArg() != 0 {
		return fmt.Errorf("--dir is needed, and nothing but options")
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	return serve(ctx, o, server)
}

func serve(ctx context.Context, o options, s *server) error {
	token, err := makeToken(filepath.Join(o.dir, "token"))
	if err != nil {
		return err
	}
	rotate, err := makeToken(filepath.Join(o.dir, "rotate.token"))
	if err != nil {
		return err
	}
	api, err := s.complete(o, token, rotate)
	if err != nil {
		return err
	}
	if err := writeKubeconfig(filepath.Join(o.dir, "rotate.kubeconfig"), s.url(), s.certFile(), rotate); err != nil {
		return err
	}
	if err := writeKubeconfig(filepath.Join(o.dir, "kubeconfig"), s.url(), s.certFile(), token); err != nil {
		return err
	}
	go announce(ctx, api.LoopbackClientConfig)
	return api.PrepareRun().RunWithContext(ctx)
}

// announce prints "serving" when /readyz says so.
func announce(ctx context.Context, config *rest.Config) {
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		klog.Fatal(err)
	}
	for ctx.Err() == nil {
		if isReady(client, config.Host) {
			fmt.Println("serving")
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func isReady(client *http.Client, host string) bool {
	answer, err := client.Get(host + "/readyz")
	if err != nil {
		return false
	}
	defer answer.Body.Close()
	_, _ = io.Copy(io.Discard, answer.Body)
	return answer.StatusCode == http.StatusOK
}
