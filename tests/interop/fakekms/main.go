// SPDX-License-Identifier: Apache-2.0

// Fakekms is a KMS plugin with the key in its own heap, which is exactly what
// kekd exists to avoid. It is the peer the client is tested against, the
// baseline of the benchmark and an upstream plugin for chain tests. It can
// misbehave on request; see fault.go.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"

	kmsv1 "k8s.io/kms/apis/v1beta1"
	kmsv2 "k8s.io/kms/apis/v2"
	"k8s.io/kms/pkg/service"
)

// The largest message a KMS plugin has a use for; kekd has the same limit.
const maxMessage = 64 << 10

type options struct {
	listen      string
	api         string
	fault       string
	seed        string
	rotateEvery time.Duration
}

func parseOptions() options {
	var o options
	flag.StringVar(&o.listen, "listen", "", "Unix socket to serve on")
	flag.StringVar(&o.api, "api", "both", "v1, v2 or both")
	flag.StringVar(&o.fault, "fault", "none", faultUsage)
	flag.StringVar(&o.seed, "seed", "", "derive the keys from this text, so that a restarted plugin knows them")
	flag.DurationVar(&o.rotateEvery, "rotate-every", 0, "new key at this interval; SIGUSR1 always rotates")
	flag.Parse()
	if o.listen == "" || flag.NArg() != 0 {
		flag.Usage()
		os.Exit(2)
	}
	return o
}

func main() {
	o := parseOptions()
	if err := serve(o); err != nil {
		fmt.Fprintln(os.Stderr, "fakekms:", err)
		os.Exit(1)
	}
}

// serve returns after SIGTERM or SIGINT, when the calls in flight have ended.
func serve(o options) error {
	keys, err := newKeyring(o.seed)
	if err != nil {
		return err
	}
	fault, err := parseFault(o.fault)
	if err != nil {
		return err
	}
	server, err := newServer(o.api, keys, fault)
	if err != nil {
		return err
	}
	listener, err := listen(o.listen)
	if err != nil {
		return err
	}
	if fault.noise {
		return makeNoise(listener)
	}
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGUSR1, syscall.SIGTERM, syscall.SIGINT)
	go obeySignals(signals, server, keys, o.rotateEvery)
	// A test that starts the plugin waits for this line.
	fmt.Printf("listening on %s, key_id %s\n", o.listen, keys.currentID())
	return server.Serve(listener)
}

// listen removes a socket only when nobody answers on it.
func listen(path string) (net.Listener, error) {
	listener, err := net.Listen("unix", path)
	if !errors.Is(err, syscall.EADDRINUSE) {
		return listener, err
	}
	conn, dialErr := net.Dial("unix", path)
	if dialErr == nil {
		conn.Close()
		return nil, err
	}
	if !errors.Is(dialErr, syscall.ECONNREFUSED) {
		return nil, err
	}
	if err := os.Remove(path); err != nil {
		return nil, err
	}
	return net.Listen("unix", path)
}

func newServer(api string, keys *keyring, fault *fault) (*grpc.Server, error) {
	server := grpc.NewServer(
		grpc.MaxRecvMsgSize(fault.maxMessage()),
		grpc.UnaryInterceptor(fault.intercept),
		// grpc-go takes a client that pings more often than every five
		// minutes for an attacker.
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{
			MinTime:             time.Nanosecond,
			PermitWithoutStream: true,
		}),
	)
	if api != "v1" && api != "v2" && api != "both" {
		return nil, fmt.Errorf("-api %s: expected v1, v2 or both", api)
	}
	if api != "v2" {
		server.RegisterService(strict(kmsv1.KeyManagementService_ServiceDesc), &v1Service{keys: keys, fault: fault})
	}
	if api != "v1" {
		// The address is for ListenAndServe, which is not used: it leaves no
		// way to set the message limit or to serve v1 on the same socket.
		v2 := service.NewGRPCService("", time.Minute, &v2Service{keys: keys, fault: fault})
		server.RegisterService(strict(kmsv2.KeyManagementService_ServiceDesc), v2)
	}
	return server, nil
}

func obeySignals(signals <-chan os.Signal, server *grpc.Server, keys *keyring, every time.Duration) {
	var tick <-chan time.Time
	if every > 0 {
		tick = time.Tick(every)
	}
	for {
		select {
		case <-tick:
			keys.rotate()
		case sig := <-signals:
			if sig != syscall.SIGUSR1 {
				server.GracefulStop()
				return
			}
			keys.rotate()
			fmt.Printf("rotated, key_id %s\n", keys.currentID())
		}
	}
}

// strict returns a description of the same service that answers a request
// which is not valid protobuf with INVALID_ARGUMENT. grpc-go says INTERNAL,
// which would blame the plugin for the caller's fault.
func strict(desc grpc.ServiceDesc) *grpc.ServiceDesc {
	methods := make([]grpc.MethodDesc, len(desc.Methods))
	for i, method := range desc.Methods {
		handler := method.Handler
		method.Handler = func(srv any, ctx context.Context, decode func(any) error,
			interceptor grpc.UnaryServerInterceptor) (any, error) {
			return handler(srv, ctx, func(request any) error {
				if decode(request) != nil {
					return errMalformed
				}
				return nil
			}, interceptor)
		}
		methods[i] = method
	}
	desc.Methods = methods
	return &desc
}
