package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"
)

// maxSamples bounds the memory taken before the window: four columns of 8 bytes each.
const maxSamples = 100_000_000

// planned is one duration of the plan and how often each sleeper sleeps it.
type planned struct {
	RequestedNs int64 `json:"requested_ns"`
	Samples     int   `json:"samples"`
}

func (p planned) duration() time.Duration { return time.Duration(p.RequestedNs) }

type options struct {
	method, pace                       string
	plan                               []planned
	sleepers, burn, gomaxprocs, warmup int
	sibling, gc, onlyBurn              int
	phase, maxTime                     time.Duration
	seed                               int64
	samples                            int
	planText                           string
	traceWakes, hold                   bool
	trace                              string
}

const usage = `sleepbench measures sleeps: one JSON line, then the columns requested_ns, actual_ns, start_ns and sleeper (int64, little-endian).
`

// parseOptions reads the command line. The error is one line for the user, or flag.ErrHelp.
func parseOptions(arguments []string, help io.Writer) (*options, error) {
	o := &options{}
	set := flag.NewFlagSet("sleepbench", flag.ContinueOnError)
	set.SetOutput(io.Discard)
	set.StringVar(&o.method, "method", "sleep", "how a sleeper sleeps: "+strings.Join(methodNames(), ", ")+
		fmt.Sprintf("; sleep-then-spin is time.Sleep until %v before the end, then reads of the clock", spinMargin))
	set.StringVar(&o.planText, "plan", "1ms", "durations and samples per sleeper, as in 50us*40,100ms*2; without *N: -samples")
	set.IntVar(&o.samples, "samples", 40, "samples per sleeper of the durations that name no number")
	set.IntVar(&o.sleepers, "sleepers", 1, "goroutines that sleep at the same time")
	set.IntVar(&o.burn, "burn", 0, "goroutines that burn CPU meanwhile")
	set.IntVar(&o.sibling, "sibling", 0, "goroutines that burn CPU in a process beside this one")
	set.IntVar(&o.gc, "gc", 0, "goroutines that allocate, so that the collector runs all the time")
	set.IntVar(&o.onlyBurn, "only-burn", 0, "be the process beside: burn CPU with so many goroutines until killed")
	set.StringVar(&o.pace, "pace", "relative", "relative (sleep, then sleep again) or absolute (a schedule of deadlines, one duration apart)")
	set.DurationVar(&o.phase, "phase", 0, "absolute: sleeper i's schedule starts i times this later")
	set.IntVar(&o.gomaxprocs, "gomaxprocs", 2, "GOMAXPROCS; 0: the runtime's default")
	set.IntVar(&o.warmup, "warmup", 20, "sleeps per sleeper of the first duration that are not recorded")
	set.Int64Var(&o.seed, "seed", 1, "seed of each sleeper's order of the durations")
	set.DurationVar(&o.maxTime, "max-time", 0, "start no new sleep after this much measured time; 0: no limit")
	set.BoolVar(&o.hold, "hold", false, "first write the process's number on a line, and sleep until standard input says go")
	set.BoolVar(&o.traceWakes, "trace-wakes", false, "add the column tid (the thread on which each sleep ended) and the window's start on the clock")
	set.StringVar(&o.trace, "trace", "", "write an execution trace (runtime/trace) of the measured window to this `file`")
	if err := set.Parse(arguments); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			fmt.Fprint(help, usage)
			set.SetOutput(help)
			set.PrintDefaults()
		}
		return nil, err
	}
	if set.NArg() > 0 {
		return nil, fmt.Errorf("%q is not an option", set.Arg(0))
	}
	if err := o.check(); err != nil {
		return nil, err
	}
	return o, nil
}

func (o *options) check() error {
	if _, known := methods[o.method]; !known {
		return fmt.Errorf("-method %q: known are %s", o.method, strings.Join(methodNames(), ", "))
	}
	if o.pace != "relative" && o.pace != "absolute" {
		return fmt.Errorf("-pace %q: known are relative, absolute", o.pace)
	}
	for _, number := range []struct {
		name       string
		value, min int
	}{{"samples", o.samples, 1}, {"sleepers", o.sleepers, 1}, {"burn", o.burn, 0}, {"sibling", o.sibling, 0}, {"gc", o.gc, 0}, {"only-burn", o.onlyBurn, 0}, {"gomaxprocs", o.gomaxprocs, 0}, {"warmup", o.warmup, 0}} {
		if number.value < number.min {
			return fmt.Errorf("-%s %d: at least %d", number.name, number.value, number.min)
		}
	}
	if o.phase < 0 || o.maxTime < 0 {
		return errors.New("-phase and -max-time cannot be negative")
	}
	if o.gc > 0 && methods[o.method].holdsThread {
		return fmt.Errorf("-gc %d: -method %s runs without the collector, which could not stop such a sleeper", o.gc, o.method)
	}
	if err := o.readPlan(); err != nil {
		return err
	}
	if o.pace == "absolute" && len(o.plan) != 1 {
		return fmt.Errorf("-plan %q: -pace absolute takes one duration, the interval", o.planText)
	}
	if o.pace == "relative" && o.phase != 0 {
		return errors.New("-phase needs -pace absolute")
	}
	if samples := float64(o.perSleeper()) * float64(o.sleepers); samples > maxSamples {
		return fmt.Errorf("%.0f samples in all: at most %d", samples, maxSamples)
	}
	return nil
}

func (o *options) readPlan() error {
	for _, part := range strings.Split(o.planText, ",") {
		text, count, counted := strings.Cut(part, "*")
		d, err := time.ParseDuration(text)
		if err != nil || d <= 0 {
			return fmt.Errorf("-plan %q: %q is not a positive duration such as 50us", o.planText, text)
		}
		samples := o.samples
		if counted {
			samples, err = strconv.Atoi(count)
			if err != nil || samples < 1 || samples > maxSamples {
				return fmt.Errorf("-plan %q: %q is not a number of samples (1 to %d)", o.planText, count, maxSamples)
			}
		}
		if o.method == "usleep" && (d%time.Microsecond != 0 || d/time.Microsecond > math.MaxUint32) {
			return fmt.Errorf("-plan %q: runtime.usleep takes whole microseconds, at most %d, not %v", o.planText, uint32(math.MaxUint32), d)
		}
		o.plan = append(o.plan, planned{int64(d), samples})
	}
	return nil
}

// perSleeper is the number of samples of one sleeper.
func (o *options) perSleeper() int {
	total := 0
	for _, part := range o.plan {
		total += part.Samples
	}
	return total
}
