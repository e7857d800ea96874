// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"runtime/debug"
	"strings"
)

// report writes KTAP: one line per test, the reason above a failed one, the
// plan at the end because the number of tests is not known before.
type report struct {
	out    io.Writer
	suite  string
	number int
	failed int
}

func newReport(out io.Writer, suite string) *report {
	fmt.Fprintln(out, "KTAP version 1")
	return &report{out: out, suite: suite}
}

// test runs one test. A panic in the apiserver's code is a failure of that
// test, and the others still run.
func (r *report) test(name string, run func() error) {
	r.number++
	err := guarded(run)
	if err == nil {
		fmt.Fprintf(r.out, "ok %d %s.%s\n", r.number, r.suite, name)
		return
	}
	r.failed++
	for line := range strings.Lines(err.Error()) {
		fmt.Fprintf(r.out, "# %s\n", strings.TrimRight(line, "\n"))
	}
	fmt.Fprintf(r.out, "not ok %d %s.%s\n", r.number, r.suite, name)
}

func (r *report) note(format string, args ...any) {
	fmt.Fprintf(r.out, "# "+format+"\n", args...)
}

// finish prints the plan and returns the exit status.
func (r *report) finish() int {
	fmt.Fprintf(r.out, "1..%d\n", r.number)
	if r.failed > 0 || r.number == 0 {
		return 1
	}
	return 0
}

func guarded(run func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return run()
}
