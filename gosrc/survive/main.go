// Command survive sleeps under strain: while the collector runs, a profiler samples, stacks move, signals arrive.
//
// It checks what a sleep promises: never early, and the sleeper's stack as it was left. Every mode writes one JSON
// line to standard output; "ok" says whether all its checks held. Exit status: 0 all checks held, 1 one did not,
// 2 bad options (and the end of -mode panic, by Go's own choice).
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"sort"
	"strings"
	"time"
)

type options struct {
	mode      string
	sleepers  int
	requested time.Duration
	length    time.Duration
	profile   string
}

// A mode runs its strain and gives its figures and whether its checks held.
type mode func(o *options) (figures map[string]any, ok bool, err error)

var modes = map[string]mode{
	"gc":      collect,
	"profile": profile,
	"panic":   panicAsleep,
	"wait":    wait,
	"grow":    grow,
	"many":    many,
	"signals": signals,
	"io":      inputOutput,
	"exec":    execute,
	"ticks":   ticks,
}

func main() {
	o, err := parseOptions(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "survive: %v\n", err)
		os.Exit(2)
	}
	figures, ok, err := modes[o.mode](o)
	if err != nil {
		fmt.Fprintf(os.Stderr, "survive: %v\n", err)
		os.Exit(1)
	}
	figures["ok"] = ok
	report(o, figures)
	if !ok {
		os.Exit(1)
	}
}

// report writes the JSON line.
func report(o *options, figures map[string]any) {
	figures["mode"], figures["sleepers"], figures["requested_ns"] = o.mode, o.sleepers, int64(o.requested)
	if err := json.NewEncoder(os.Stdout).Encode(figures); err != nil {
		fmt.Fprintf(os.Stderr, "survive: %v\n", err)
		os.Exit(1)
	}
}

func parseOptions(arguments []string) (*options, error) {
	o := &options{}
	names := make([]string, 0, len(modes))
	for name := range modes {
		names = append(names, name)
	}
	sort.Strings(names)
	set := flag.NewFlagSet("survive", flag.ContinueOnError)
	set.SetOutput(io.Discard)
	set.StringVar(&o.mode, "mode", "gc", "the strain: "+strings.Join(names, ", "))
	set.IntVar(&o.sleepers, "sleepers", 200, "goroutines that sleep at the same time; 10000 in -mode many if not given")
	set.DurationVar(&o.requested, "requested", time.Millisecond, "how long each sleep is to last")
	set.DurationVar(&o.length, "for", 5*time.Second, "how long the strain lasts")
	set.StringVar(&o.profile, "profile", "", "-mode profile and ticks: the file to write the CPU profile to")
	if err := set.Parse(arguments); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			set.SetOutput(os.Stdout)
			set.PrintDefaults()
		}
		return nil, err
	}
	given := map[string]bool{}
	set.Visit(func(f *flag.Flag) { given[f.Name] = true })
	if o.mode == "many" && !given["sleepers"] {
		o.sleepers = 10_000
	}
	_, known := modes[o.mode]
	switch {
	case set.NArg() > 0:
		return nil, fmt.Errorf("%q is not an option", set.Arg(0))
	case !known:
		return nil, fmt.Errorf("-mode %q: known are %s", o.mode, strings.Join(names, ", "))
	case o.sleepers < 1 || o.requested <= 0 || o.length <= 0:
		return nil, errors.New("-sleepers, -requested and -for must be positive")
	case (o.mode == "profile" || o.mode == "ticks") != (o.profile != ""):
		return nil, errors.New("-profile FILE goes with -mode profile or ticks, and those with it")
	}
	return o, nil
}
