// Command handoff shows what becomes of a P, the runtime's right to run Go code, while a goroutine sleeps.
//
// Usage: handoff [options] hand|idle|share
//
//	hand   one P and two goroutines: the one sleeps, the other notes when and on which thread it first runs, and
//	       how far it gets
//	idle   nothing but sleepers; with -trace the scheduler tells its state on standard error meanwhile
//	share  two Ps: how far a computing goroutine gets beside another that computes, is parked, or sleeps
//
// It writes one line of JSON. Exit status: 0 done, 1 the machine refused something, 2 bad arguments.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"syscall"
	"time"
)

type options struct {
	method     func(time.Duration)
	beside     string
	sleepers   int
	sleeps     int
	gomaxprocs int
	length     time.Duration
	window     time.Duration
	trace      bool
	seed       int64
}

var parts = map[string]func(*options) any{"hand": hand, "idle": idle, "share": share}

func main() {
	o, part, err := parseOptions(os.Args[1:], os.Stdout)
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "handoff: %v\n", err)
		os.Exit(2)
	}
	if o.trace {
		traceScheduler(o.sleepers == 1)
	}
	debug.SetGCPercent(-1) // a collection would move Ps and threads for reasons of its own
	runtime.GOMAXPROCS(o.gomaxprocs)
	line, err := json.Marshal(parts[part](o))
	if err != nil {
		fail("%v", err)
	}
	fmt.Printf("%s\n", line)
}

func parseOptions(arguments []string, help io.Writer) (*options, string, error) {
	o, method := &options{}, ""
	set := flag.NewFlagSet("handoff", flag.ContinueOnError)
	set.SetOutput(io.Discard)
	set.StringVar(&method, "method", "time.Sleep", "how to sleep: time.Sleep, locked for time.Sleep of a goroutine that "+
		"is locked to its thread, or syscall for nanosleep(2) by syscall.Syscall")
	set.StringVar(&o.beside, "beside", "sleep", "of share, what the other goroutine does: compute, park or sleep")
	set.IntVar(&o.sleepers, "sleepers", 1, "of idle, how many sleep at once")
	set.IntVar(&o.sleeps, "sleeps", 1, "of hand and idle, how many sleeps one after the other")
	set.IntVar(&o.gomaxprocs, "gomaxprocs", 1, "the number of Ps")
	set.DurationVar(&o.length, "length", 50*time.Millisecond, "how long a sleep lasts")
	set.DurationVar(&o.window, "window", time.Second, "of share, how long to compute")
	set.BoolVar(&o.trace, "trace", false, "GODEBUG=schedtrace=1, with scheddetail=1 for one sleeper")
	set.Int64Var(&o.seed, "seed", 1, "of hand, of the times between sleeps")
	if err := set.Parse(arguments); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			set.SetOutput(help)
			set.PrintDefaults()
		}
		return nil, "", err
	}
	if set.NArg() != 1 || parts[set.Arg(0)] == nil {
		return nil, "", errors.New("name one of hand, idle, share")
	}
	if o.sleepers < 1 || o.sleeps < 1 || o.gomaxprocs < 1 || o.length <= 0 || o.window <= 0 {
		return nil, "", errors.New("numbers and lengths are positive")
	}
	if o.beside != "compute" && o.beside != "park" && o.beside != "sleep" {
		return nil, "", fmt.Errorf("-beside %s: compute, park or sleep", o.beside)
	}
	switch method {
	case "time.Sleep":
		o.method = time.Sleep
	case "locked":
		o.method = lockedSleep
	case "syscall":
		o.method = blockingSleep
	default:
		return nil, "", fmt.Errorf("-method %s: time.Sleep, locked or syscall", method)
	}
	return o, set.Arg(0), nil
}

// traceScheduler starts the program again with the scheduler's trace on: the runtime reads it at its start only.
func traceScheduler(detailed bool) {
	const variable = "GODEBUG"
	value := "schedtrace=1"
	if detailed {
		value += ",scheddetail=1"
	}
	if os.Getenv(variable) == value {
		return
	}
	os.Setenv(variable, value)
	fail("exec: %v", syscall.Exec("/proc/self/exe", os.Args, os.Environ()))
}

// fail ends the program: the machine refused something that it needs.
func fail(format string, values ...any) {
	fmt.Fprintf(os.Stderr, "handoff: "+format+"\n", values...)
	os.Exit(1)
}
