// Command churn sleeps and serves under every strain at once until its standard input is closed, and tells whether
// anything went wrong: a sleep that ended early, a request that failed, a program that could not be run.
//
// It writes its number on a line when all is under way, and one JSON line at its end; "ok" says whether all its
// checks held. Exit status: 0 all held, 1 one did not, 2 bad options.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// A strain runs until stop is closed.
type strain func(t *tally, stop <-chan struct{}) error

var strains = map[string]strain{
	"sleep":   sleepers,
	"gc":      collect,
	"prof":    profile,
	"urg":     urgent,
	"http":    serve,
	"exec":    execute,
	"threads": threads,
}

// tally counts what was done and what was wrong.
type tally struct {
	Sleeps   atomic.Int64
	Early    atomic.Int64
	Longest  atomic.Int64 // ns that a sleep lasted beyond what was asked
	Requests atomic.Int64
	Failed   atomic.Int64
	Execs    atomic.Int64
	Threads  atomic.Int64
	GCs      atomic.Int64
	Signals  atomic.Int64
	Samples  atomic.Int64
}

func main() {
	chosen := flag.String("strains", names(), "what strains it, by commas")
	count := flag.Int("sleepers", 200, "goroutines that sleep")
	parked := flag.Int("threads", 0, "threads that do nothing but wait in a system call")
	flag.Parse()
	sleeping = *count
	park(*parked)
	t, stop := &tally{}, make(chan struct{})
	var running sync.WaitGroup
	failures := make(chan error, len(strains))
	for _, name := range strings.Split(*chosen, ",") {
		run, known := strains[name]
		if !known || flag.NArg() > 0 || *count < 1 {
			fmt.Fprintf(os.Stderr, "churn: %q: strains are %s\n", name, names())
			os.Exit(2)
		}
		running.Add(1)
		go func() {
			defer running.Done()
			if err := run(t, stop); err != nil {
				failures <- err
			}
		}()
	}
	fmt.Println(os.Getpid())
	io.Copy(io.Discard, os.Stdin)
	close(stop)
	running.Wait()
	close(failures)
	report(t, failures)
}

func names() string {
	found := make([]string, 0, len(strains))
	for name := range strains {
		found = append(found, name)
	}
	sort.Strings(found)
	return strings.Join(found, ",")
}

func report(t *tally, failures <-chan error) {
	said := []string{}
	for err := range failures {
		said = append(said, err.Error())
	}
	ok := t.Early.Load() == 0 && t.Failed.Load() == 0 && len(said) == 0
	json.NewEncoder(os.Stdout).Encode(map[string]any{
		"ok": ok, "errors": said, "sleeps": t.Sleeps.Load(), "early": t.Early.Load(), "longest_ns": t.Longest.Load(),
		"requests": t.Requests.Load(), "failed": t.Failed.Load(), "execs": t.Execs.Load(), "threads": t.Threads.Load(),
		"gcs": t.GCs.Load(), "signals": t.Signals.Load(), "profile_bytes": t.Samples.Load(),
	})
	if !ok {
		os.Exit(1)
	}
}

var sleeping int

var asked = []time.Duration{50 * time.Microsecond, 300 * time.Microsecond, time.Millisecond, 3 * time.Millisecond}

func sleepers(t *tally, stop <-chan struct{}) error {
	var all sync.WaitGroup
	for i := 0; i < sleeping; i++ {
		all.Add(1)
		go func(i int) {
			defer all.Done()
			for n := i; !stopped(stop); n++ {
				d := asked[n%len(asked)]
				start := time.Now()
				time.Sleep(d)
				over := time.Since(start) - d
				if over < 0 {
					t.Early.Add(1)
				}
				for before := t.Longest.Load(); int64(over) > before; before = t.Longest.Load() {
					if t.Longest.CompareAndSwap(before, int64(over)) {
						break
					}
				}
				t.Sleeps.Add(1)
			}
		}(i)
	}
	all.Wait()
	return nil
}

func stopped(stop <-chan struct{}) bool {
	select {
	case <-stop:
		return true
	default:
		return false
	}
}
