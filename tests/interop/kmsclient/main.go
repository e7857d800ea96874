// SPDX-License-Identifier: Apache-2.0

// Kmsclient tests a KMS plugin with kube-apiserver's own code: the same
// configuration loader, transformers and gRPC clients that a control plane
// runs. What they do not reach, error codes above all, is tested with the
// generated gRPC client. Results are KTAP on standard output; the exit status
// is 0 when every test passed, 1 when one failed, 2 for a wrong command line.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/klog/v2"
)

// env is what every test gets: where the plugin is and how long to wait.
type env struct {
	*report
	socket  string
	timeout time.Duration // of one call, as in the EncryptionConfiguration
	values  int
	conns   int
}

type command struct {
	name, args, help string
	run              func(ctx context.Context, e *env, args []string) error
}

var commands = []command{
	{"basic", "", "configuration, health, Status, one round trip", runBasic},
	{"values", "", "a thousand values through the storage transformers", runValues},
	{"parallel", "", "streams, connections, cancellation, deadlines", runParallel},
	{"limits", "", "error codes, sizes, damaged and ill-formed input", runLimits},
	{"frames", "", "HTTP/2 below gRPC: PING, unknown frames, broken peers", runFrames},
	{"v1", "", "the same for KMS v1 (v1beta1)", runV1},
	{"storm", "[-exhausted] [-calls=N]", "thousands of v1 Decrypts in flight at once", runStorm},
	{"write", "[-api=v1] FILE", "encrypt values and keep the stored form in FILE", runWrite},
	{"verify", "[-api=v1] [-stale=no|yes|any] FILE", "read back what write stored", runVerify},
	{"restart", "[-retry] [-rotated]", "calls without a pause while standard input says when to check", runRestart},
	{"soak", "[-rate=N] NODE=SOCKET...", "API servers of one cluster, until standard input ends (takes no SOCKET)", runSoak},
	{"judge", "FILE...", "validate EncryptionConfigurations (takes no SOCKET)", runJudge},
	{"chain-write", "CONFIG FILE", "store values with the keys in CONFIG (takes no SOCKET)", runChainWrite},
	{"chain-read", "[-stale] CONFIG FILE", "read values that another stored (takes no SOCKET)", runChainRead},
}

// Those that need no plugin.
var withoutSocket = []string{"judge", "soak", "chain-write", "chain-read"}

// errUsage is returned by a command whose arguments make no sense.
type errUsage string

func (e errUsage) Error() string { return string(e) }

func usage() {
	out := flag.CommandLine.Output()
	fmt.Fprintln(out, "usage: kmsclient [FLAG...] [SOCKET] COMMAND [ARG...]")
	for _, c := range commands {
		fmt.Fprintf(out, "  %-42s %s\n", c.name+" "+c.args, c.help)
	}
	flag.PrintDefaults()
}

func main() {
	e := &env{}
	var watchdog time.Duration
	var verbose bool
	flag.Usage = usage
	flag.DurationVar(&e.timeout, "kms-timeout", 3*time.Second, "timeout of a call to the plugin")
	flag.IntVar(&e.values, "values", 1000, "how many values to encrypt")
	flag.IntVar(&e.conns, "connections", 64, "how many connections to hold at once")
	flag.DurationVar(&watchdog, "watchdog", 10*time.Minute, "give up after this long; a bound, not a test")
	flag.BoolVar(&verbose, "v", false, "show what the apiserver code logs")
	flag.Parse()
	if !verbose {
		// Otherwise each refused value is a line on standard error.
		klog.SetLogger(logr.Discard())
	}
	os.Exit(dispatch(e, watchdog, flag.Args()))
}

func dispatch(e *env, watchdog time.Duration, args []string) int {
	if len(args) > 0 && !slices.Contains(withoutSocket, args[0]) {
		e.socket, args = args[0], args[1:]
	}
	if len(args) == 0 {
		usage()
		return 2
	}
	for _, c := range commands {
		if c.name == args[0] {
			return e.runCommand(c, watchdog, args[1:])
		}
	}
	fmt.Fprintf(os.Stderr, "kmsclient: unknown command %q\n", args[0])
	return 2
}

func (e *env) runCommand(c command, watchdog time.Duration, args []string) int {
	ctx, cancel := context.WithTimeout(context.Background(), watchdog)
	defer cancel()
	context.AfterFunc(ctx, func() {
		if ctx.Err() == context.DeadlineExceeded {
			fmt.Println("Bail out! the watchdog bit")
			os.Exit(1)
		}
	})
	if c.name == "judge" {
		e.report = &report{out: io.Discard}
	} else {
		e.report = newReport(os.Stdout, c.name)
	}
	err := c.run(ctx, e, args)
	if _, wrong := err.(errUsage); wrong {
		fmt.Fprintf(os.Stderr, "kmsclient: %s: %v\n", c.name, err)
		return 2
	}
	if err != nil {
		// What a command could not even start with is a failed test too.
		e.test("setup", func() error { return err })
	}
	if c.name == "judge" {
		return e.failed
	}
	return e.finish()
}

func noArgs(args []string) error {
	if len(args) > 0 {
		return errUsage("unexpected argument " + strings.Join(args, " "))
	}
	return nil
}
