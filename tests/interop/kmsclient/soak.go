// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	kmstypes "k8s.io/apiserver/pkg/storage/value/encrypt/envelope/kmsv2/v2"
)

const (
	soakKept     = 48               // values of one key that are read again and again
	soakWarm     = 10               // reads by the API server that has its seeds, each turn
	soakRenewed  = 60               // turns after which it is another one, which has none
	soakPatience = 90 * time.Second // for a read that no kekd has answered
	soakAtRest   = 30 * time.Second // since the last write with a key that is dropped
)

// soakNode is one machine: an API server and a plain client of its kekd.
type soakNode struct {
	name   string
	client *client
	env    *env
	server *apiserver

	out   atomic.Bool  // it is not to be called
	calls atomic.Int64 // that are under way, or about to look at out
	late  atomic.Bool  // its disk was put back: a read that fails is no fault

	last  int // the activation that it wrote with
	turns int
}

// soakKey is a key that was seen in an answer, by its key_id.
type soakKey struct {
	mutex   sync.RWMutex // held while its values are read
	dropped bool
	values  []*value
	written time.Time
}

// soak is several API servers, each beside a kekd of one cluster. Each writes
// and reads what all have written, until standard input ends; what is wrapped
// by one is unwrapped by the others at once.
type soak struct {
	*env
	nodes []*soakNode
	index atomic.Int64
	reads [3]atomic.Int64 // soakCached, …
	wrote atomic.Int64
	again atomic.Int64
	ended atomic.Bool

	mutex  sync.Mutex // of what follows
	keys   map[string]*soakKey
	ids    map[int]string            // key_ids by activation
	counts map[string]map[string]int // by what and why
	faults []string
}

const (
	soakCached = iota
	soakCold
	soakCalled
)

// runSoak obeys lines of standard input, each answered by one:
//
//	out NODE, in NODE   it is called no more, or again
//	late NODE           the same as in, and what it cannot read is no fault
//	drop ID             no value of the key is read any more: "busy" if it is written with
//	report              figures
//	end                 the same as the end of standard input
func runSoak(ctx context.Context, e *env, args []string) error {
	flags := flag.NewFlagSet("soak", flag.ContinueOnError)
	rate := flags.Int("rate", 20, "turns of each node in a second")
	if err := flags.Parse(args); err != nil || flags.NArg() == 0 || *rate <= 0 {
		return errUsage("expected [-rate=N] NODE=SOCKET...")
	}
	s := &soak{env: e, keys: map[string]*soakKey{}, ids: map[int]string{}, counts: map[string]map[string]int{}}
	for _, arg := range flags.Args() {
		if err := s.add(ctx, arg); err != nil {
			return err
		}
	}
	var group sync.WaitGroup
	for _, n := range s.nodes {
		group.Go(func() {
			for tick := time.Tick(time.Second / time.Duration(*rate)); !s.ended.Load(); <-tick {
				s.turn(ctx, n)
			}
		})
	}
	s.obey()
	s.ended.Store(true)
	group.Wait()
	s.figures()
	e.test("no_read_failed", func() error { return s.fault("read") })
	e.test("every_key_id_once", func() error { return s.fault("key_id") })
	return nil
}

func (s *soak) add(ctx context.Context, arg string) error {
	name, socket, found := strings.Cut(arg, "=")
	if !found {
		return errUsage("expected NODE=SOCKET, got " + arg)
	}
	of := *s.env
	of.socket = socket
	n := &soakNode{name: name, env: &of}
	var err error
	if n.client, err = dial(n.env); err != nil {
		return err
	}
	if n.server, err = newHealthyAPIServer(ctx, n.env, "v2"); err != nil {
		return err
	}
	s.nodes = append(s.nodes, n)
	return nil
}

var soakDetail = regexp.MustCompile(`[0-9a-f]{8,}(\.[0-9]+)?|/registry/\S+|[0-9]+`)

// count notes why something did not work, without what differs each time.
func (s *soak) count(what, why string) {
	why = soakDetail.ReplaceAllString(why, "N")
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.counts[what] == nil {
		s.counts[what] = map[string]int{}
	}
	s.counts[what][why]++
}

func (s *soak) blame(what, format string, args ...any) {
	text := time.Now().Format(time.TimeOnly) + " " + what + ": " + fmt.Sprintf(format, args...)
	fmt.Fprintln(os.Stderr, text)
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.faults = append(s.faults, what+": "+text)
}

func (s *soak) fault(what string) error {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	var found []error
	for _, text := range s.faults {
		if strings.HasPrefix(text, what+": ") {
			found = append(found, errors.New(strings.TrimPrefix(text, what+": ")))
		}
	}
	return errors.Join(found[:min(len(found), 20)]...)
}

func (s *soak) key(id string) *soakKey {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.keys[id] == nil {
		s.keys[id] = &soakKey{}
	}
	return s.keys[id]
}

// some is a value of any key, with the key held; nil if there is none.
func (s *soak) some() (*soakKey, *value) {
	s.mutex.Lock()
	keys := slices.Collect(maps.Values(s.keys))
	s.mutex.Unlock()
	if len(keys) == 0 {
		return nil, nil
	}
	k := keys[rand.IntN(len(keys))]
	return k, k.some()
}

func (k *soakKey) some() *value {
	k.mutex.RLock()
	if len(k.values) > 0 {
		return k.values[rand.IntN(len(k.values))]
	}
	k.mutex.RUnlock()
	return nil
}

// isLost is true for what nobody has answered: the process at the other end was
// killed, and the next one is asked, as by every gRPC client.
func isLost(err error) bool {
	code := status.Code(err)
	return code == codes.Unavailable || code == codes.DeadlineExceeded ||
		errors.Is(err, context.DeadlineExceeded) || strings.Contains(err.Error(), "code = Unavailable") ||
		strings.Contains(err.Error(), "code = DeadlineExceeded")
}

func (s *soak) read(kind int, n *soakNode, what string, run func() error) {
	for begun := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		err := run()
		if err == nil {
			s.reads[kind].Add(1)
			return
		}
		if isLost(err) && time.Since(begun) < soakPatience {
			s.again.Add(1)
			continue
		}
		if n.late.Load() {
			s.count("read on a disk that was put back", err.Error())
			return
		}
		s.count("read", err.Error())
		s.blame("read", "node %s, %s: %v", n.name, what, err)
		return
	}
}

// enter is true for who may call the node, and says so when that is over.
func (n *soakNode) enter() bool {
	n.calls.Add(1)
	if !n.out.Load() {
		return true
	}
	n.calls.Add(-1)
	return false
}

// turn is what a node does 20 times a second.
func (s *soak) turn(ctx context.Context, n *soakNode) {
	if !n.enter() {
		return
	}
	defer n.calls.Add(-1)
	s.call(ctx, n)
	s.write(ctx, n)
	for range soakWarm {
		if k, v := s.some(); v != nil {
			s.load(ctx, soakCached, n, n.server, v)
			k.mutex.RUnlock()
		}
	}
	if n.turns++; n.turns%soakRenewed == 0 {
		s.renew(ctx, n)
	}
}

func (s *soak) load(ctx context.Context, kind int, n *soakNode, server *apiserver, v *value) {
	s.read(kind, n, v.Path, func() error {
		_, err := v.load(ctx, server)
		return err
	})
}

// call wraps a seed here and has all nodes unwrap it.
func (s *soak) call(ctx context.Context, n *soakNode) {
	seed := newSeed()
	sealed, err := n.client.encrypt(ctx, seed)
	if err != nil {
		s.count("write", status.Code(err).String()+": "+status.Convert(err).Message())
		return
	}
	s.see(n, sealed.KeyId)
	k := s.key(sealed.KeyId)
	k.mutex.RLock()
	defer k.mutex.RUnlock()
	for _, other := range s.nodes {
		if other.enter() {
			s.read(soakCalled, other, "wrapped by "+n.name+" with "+sealed.KeyId, func() error {
				plain, err := other.client.decrypt(ctx, sealed)
				if err == nil && !bytes.Equal(plain, seed) {
					err = errors.New("another seed came back")
				}
				return err
			})
			other.calls.Add(-1)
		}
	}
}

// see holds a key_id against the rule that it is there once: numbers grow on
// every node, and a number is the same key's on all of them.
func (s *soak) see(n *soakNode, id string) {
	_, text, _ := strings.Cut(id, ".")
	number, err := strconv.Atoi(text)
	if err != nil || number < n.last {
		s.blame("key_id", "node %s: %s after number %d", n.name, id, n.last)
	}
	n.last = max(n.last, number)
	s.mutex.Lock()
	other := s.ids[number]
	if other == "" {
		s.ids[number] = id
	}
	s.mutex.Unlock()
	if other != "" && other != id {
		s.blame("key_id", "node %s: %s, where another has %s", n.name, id, other)
	}
}

func (s *soak) write(ctx context.Context, n *soakNode) {
	index := int(s.index.Add(1))
	v := newValue(index, 32+index%200)
	if err := v.store(ctx, n.server, "v2"); err != nil {
		s.count("write", err.Error())
		return
	}
	var object kmstypes.EncryptedObject
	if err := proto.Unmarshal(v.Stored[len(prefix("v2")):], &object); err != nil {
		s.blame("read", "%s: %v", v.Path, err)
		return
	}
	k := s.key(object.KeyID)
	k.mutex.Lock()
	defer k.mutex.Unlock()
	if k.dropped {
		s.blame("read", "node %s has written with %s, which was dropped", n.name, object.KeyID)
		return
	}
	k.written = time.Now()
	if len(k.values) < soakKept {
		k.values = append(k.values, v)
	} else {
		k.values[rand.IntN(soakKept)] = v
	}
	s.wrote.Add(1)
}

// renew is the start of another API server, which has no seed yet and reads a
// value of each key.
func (s *soak) renew(ctx context.Context, n *soakNode) {
	server, err := newHealthyAPIServer(ctx, n.env, "v2")
	if err != nil {
		s.count("start of an API server", err.Error())
		return
	}
	s.mutex.Lock()
	keys := slices.Collect(maps.Values(s.keys))
	s.mutex.Unlock()
	for _, k := range keys {
		if v := k.some(); v != nil {
			s.load(ctx, soakCold, n, server, v)
			k.mutex.RUnlock()
		}
	}
	n.server.stop()
	n.server = server
}

func (s *soak) set(name string, out, late bool) error {
	for _, n := range s.nodes {
		if n.name == name {
			n.late.Store(late)
			n.out.Store(out)
			for out && n.calls.Load() > 0 {
				time.Sleep(time.Millisecond)
			}
			return nil
		}
	}
	return errors.New("no such node")
}

// drop has the values of a key forgotten, of whatever number.
func (s *soak) drop(id string) error {
	s.mutex.Lock()
	found := map[string]*soakKey{}
	for of, k := range s.keys {
		if of == id || strings.HasPrefix(of, id+".") {
			found[of] = k
		}
	}
	s.mutex.Unlock()
	for _, k := range found {
		k.mutex.RLock()
		busy := time.Since(k.written) < soakAtRest
		k.mutex.RUnlock()
		if busy {
			return errors.New("busy")
		}
	}
	for _, k := range found {
		k.mutex.Lock()
		k.dropped, k.values = true, nil
		k.mutex.Unlock()
	}
	return nil
}

func (s *soak) obey() {
	fmt.Fprintln(s.out, "# ready")
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		word, rest, _ := strings.Cut(lines.Text(), " ")
		if word == "end" {
			return
		}
		err := error(nil)
		switch word {
		case "out", "in", "late":
			err = s.set(rest, word == "out", word == "late")
		case "drop":
			err = s.drop(rest)
		case "report":
			s.figures()
		default:
			err = errors.New("unknown")
		}
		if err != nil {
			fmt.Fprintf(s.out, "# %s: %v\n", word, err)
		} else {
			fmt.Fprintf(s.out, "# %s: done\n", word)
		}
	}
}

func (s *soak) figures() {
	cached, cold, called := s.reads[soakCached].Load(), s.reads[soakCold].Load(), s.reads[soakCalled].Load()
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.note("%d reads: %d by storage code that had the seed, %d by storage code that had none, %d by calls",
		cached+cold+called, cached, cold, called)
	s.note("%d values written, with %d keys; %d calls made again, as nobody had answered",
		s.wrote.Load(), len(s.ids), s.again.Load())
	for _, what := range slices.Sorted(maps.Keys(s.counts)) {
		for _, why := range slices.Sorted(maps.Keys(s.counts[what])) {
			s.note("failed, %s: %d of: %s", what, s.counts[what][why], why)
		}
	}
}
