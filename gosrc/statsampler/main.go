// Command statsampler reads a control group's CPU counters at a steady rate.
//
// It prints a line of JSON when it is about to take its first sample and one when it is done. The samples go to the
// file of -samples: rows of int64, little-endian, in the order that the first line names.
//
// It ends on SIGINT and SIGTERM, at the end of standard input (so it never outlives the program that holds the other
// end), and when the group is removed. Exit status: 0 done, 1 something was refused, 2 bad options.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"syscall"
)

const maxHz = 2000

type options struct {
	stat, usage, samples string
	hz                   int
}

// A header says what is sampled, and how.
type header struct {
	Schema          int      `json:"schema"`
	GoVersion       string   `json:"go_version"`
	Pid             int      `json:"pid"`
	Columns         []string `json:"columns"`
	IntervalNs      int64    `json:"interval_ns"`
	FirstDeadlineNs int64    `json:"first_deadline_ns"`
	ResolutionNs    int64    `json:"resolution_ns"`
	TimerSlackNs    int64    `json:"timer_slack_ns"`
	Priority        string   `json:"priority"`
}

// A trailer says what came of it. CPUNs is the whole process's (getrusage), from the first line to the last sample.
type trailer struct {
	Samples int64  `json:"samples"`
	Missed  int64  `json:"missed"`
	WallNs  int64  `json:"wall_ns"`
	CPUNs   int64  `json:"cpu_ns"`
	Ended   string `json:"ended"`
}

func main() {
	o, err := parseOptions(os.Args[1:], os.Stdout)
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "statsampler: %v\n", err)
		os.Exit(2)
	}
	// The sampling goroutine never gives its processor back: another one is for what ends it and writes its samples.
	runtime.GOMAXPROCS(2)
	// The collector would have to stop that goroutine and cannot; it has nothing to collect either.
	debug.SetGCPercent(-1)
	if err := run(o); err != nil {
		fmt.Fprintf(os.Stderr, "statsampler: %v\n", err)
		os.Exit(1)
	}
}

func parseOptions(arguments []string, help io.Writer) (*options, error) {
	o := &options{}
	set := flag.NewFlagSet("statsampler", flag.ContinueOnError)
	set.SetOutput(io.Discard)
	set.StringVar(&o.stat, "stat", "", "the group's cpu.stat (cgroup v1 or v2)")
	set.StringVar(&o.usage, "usage", "", "the group's cpuacct.usage (cgroup v1; v2 has it in cpu.stat)")
	set.StringVar(&o.samples, "samples", "", "the file that the samples go to")
	set.IntVar(&o.hz, "hz", 500, "samples a second")
	if err := set.Parse(arguments); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			set.SetOutput(help)
			set.PrintDefaults()
		}
		return nil, err
	}
	switch {
	case set.NArg() > 0:
		return nil, fmt.Errorf("%q is not an option", set.Arg(0))
	case o.stat == "":
		return nil, errors.New("-stat is missing: name a cpu.stat")
	case o.samples == "":
		return nil, errors.New("-samples is missing: name a file")
	case o.hz < 1 || o.hz > maxHz:
		return nil, fmt.Errorf("-hz %d: from 1 to %d", o.hz, maxHz)
	}
	return o, nil
}

func run(o *options) error {
	out, err := os.OpenFile(o.samples, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	s, err := newSampler(o)
	if err != nil {
		return err
	}
	var stop atomic.Int32
	listen(&stop)
	written := make(chan struct{})
	go func() {
		writeAll(out, s.full, s.empty)
		close(written)
	}()
	t := s.sample(&stop, os.Stdout)
	close(s.full)
	<-written
	if err := out.Close(); err != nil {
		return err
	}
	return printLine(os.Stdout, t)
}

// Why the sampler ended.
const (
	running = iota
	bySignal
	byStdin
	byRemoval
)

var endings = []string{bySignal: "signal", byStdin: "stdin", byRemoval: "removed"}

// listen sets stop when somebody wants the sampler to end.
func listen(stop *atomic.Int32) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	go func() {
		<-signals
		stop.CompareAndSwap(running, bySignal)
	}()
	go func() {
		io.Copy(io.Discard, os.Stdin) // an error is an end, too
		stop.CompareAndSwap(running, byStdin)
	}()
}

func printLine(out io.Writer, value any) error {
	line, err := json.Marshal(value)
	if err != nil {
		return err
	}
	_, err = out.Write(append(line, '\n'))
	return err
}
