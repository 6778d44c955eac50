// Command sleepbench measures how long sleeps last.
//
// Each sleeper is a goroutine that sleeps the durations of a plan, one after the other, and notes for each what
// was asked, what it got and when it began. Everything is kept in memory taken before the measured window, and
// written to standard output when the window is closed: a JSON header on one line, then the columns.
//
// SIGINT and SIGTERM close the window early; what was measured until then is written, marked as truncated.
// Exit status: 0 done, 1 the machine refused what the measurement needs, 2 bad options.
package main

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"sort"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

func main() {
	o, err := parseOptions(os.Args[1:], os.Stdout)
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "sleepbench: %v\n", err)
		os.Exit(2)
	}
	if o.onlyBurn > 0 {
		onlyBurn(o.onlyBurn)
	}
	setProcessors(o)
	if o.hold {
		hold()
	}
	h, sleepers, done := measure(o)
	if err := write(os.Stdout, h, sleepers, done); err != nil {
		fail("%v", err)
	}
}

// hold lets others change this process before anything is measured: it says its number, and sleeps millisecond after
// millisecond until they answer. Without their word it ends: what is measured was changed, or there is no measurement.
func hold() {
	fmt.Println(os.Getpid())
	var told atomic.Bool
	go func() {
		if line, _ := bufio.NewReader(os.Stdin).ReadString('\n'); line != "go\n" {
			fail("-hold: nobody said go")
		}
		told.Store(true)
	}()
	for !told.Load() {
		time.Sleep(time.Millisecond)
	}
}

// setProcessors sets GOMAXPROCS. A sleeper that holds its processor during the wait needs one of its own, and so
// do the burners beside it; and the collector is off then, since it could not stop such a sleeper.
func setProcessors(o *options) {
	processors := runtime.GOMAXPROCS(o.gomaxprocs)
	if o.gomaxprocs > 0 {
		processors = o.gomaxprocs
	}
	if methods[o.method].holdsThread {
		if own := o.sleepers + o.burn + o.gc; processors < own {
			runtime.GOMAXPROCS(own)
		}
		debug.SetGCPercent(-1)
	}
}

// measure runs the burners, the warm-up and the window. done[i] is how many samples sleeper i has.
func measure(o *options) (h *header, sleepers []*sleeper, done []int64) {
	for i := 0; i < o.sleepers; i++ {
		sleepers = append(sleepers, newSleeper(o, i))
	}
	done = make([]int64, o.sleepers)
	h = describe(o)
	if o.traceWakes {
		traceWakes(h, sleepers)
	}
	w := &window{limit: int64(o.maxTime)}
	interrupted := notifyStop(w)
	endLoad := startLoad(o, w)
	runtime.GC()

	var warm, finished sync.WaitGroup
	begin, leave := make(chan struct{}), make(chan struct{})
	slack := make(chan int64, o.sleepers)
	warm.Add(o.sleepers)
	finished.Add(o.sleepers)
	for i := range sleepers {
		s := sleepers[i]
		go func() {
			sleep := methods[o.method].open()
			slack <- timerSlack()
			warmUp(o, w, sleep)
			warm.Done()
			<-begin
			if o.pace == "absolute" {
				s.absolute(w, sleep, o.phase)
			} else {
				s.relative(w, sleep)
			}
			finished.Done()
			<-leave // a locked thread would end here, and not be counted
		}()
	}
	h.TimerSlackNs = <-slack
	waitUnless(interrupted, &warm)

	endTrace := startTrace(o.trace)
	before := readCounters()
	w.t0 = nanotime()
	if o.traceWakes {
		h.WindowStartNs = w.t0
	}
	close(begin)
	waitUnless(interrupted, &finished)
	h.WallNs = nanotime() - w.t0
	after := readCounters()

	h.Goroutines = int64(runtime.NumGoroutine()) // while the burners still run
	endLoad()
	w.stop.Store(true) // the burners, and the sleepers if a signal came
	h.CPUNs, h.Nvcsw, h.Nivcsw = after.cpuNs-before.cpuNs, after.nvcsw-before.nvcsw, after.nivcsw-before.nivcsw
	h.ThreadsPeak = threads()
	h.Iterations = yields.Load()
	for i, s := range sleepers {
		done[i] = s.done.Load()
		h.N += done[i]
		h.Missed += s.missed.Load()
	}
	h.Truncated = h.N < int64(o.perSleeper())*int64(o.sleepers)
	endTrace()
	close(leave)
	return h, sleepers, done
}

func warmUp(o *options, w *window, sleep nap) {
	d := o.plan[0].duration()
	for i := 0; i < o.warmup && !w.stop.Load(); i++ {
		sleep(d)
	}
}

// notifyStop closes the window, and the channel it gives, on SIGINT or SIGTERM.
func notifyStop(w *window) <-chan struct{} {
	interrupted, signals := make(chan struct{}), make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	go func() {
		<-signals
		w.stop.Store(true)
		close(interrupted)
	}()
	return interrupted
}

// waitUnless waits for all, or until interrupted: a sleep of minutes need not end first.
func waitUnless(interrupted <-chan struct{}, all *sync.WaitGroup) {
	ready := make(chan struct{})
	go func() {
		all.Wait()
		close(ready)
	}()
	select {
	case <-ready:
	case <-interrupted:
	}
}

// describe fills in what is known before the window.
func describe(o *options) *header {
	return &header{
		Schema: 1, GoVersion: runtime.Version(), GoArch: runtime.GOARCH, GoMaxProcs: runtime.GOMAXPROCS(0),
		NumCPU: runtime.NumCPU(), Pid: os.Getpid(), Method: o.method, Pace: o.pace, PhaseNs: int64(o.phase),
		Plan: o.plan, Sleepers: o.sleepers, Burn: o.burn, Sibling: o.sibling, GC: o.gc, Warmup: o.warmup, Seed: o.seed,
		Clock: "CLOCK_MONOTONIC", ClockResolutionNs: clockResolution(), ClockReadNs: clockReadCost(), Columns: columns,
	}
}

// clockReadCost is the median time from one clock read to the next, in nanoseconds.
func clockReadCost() int64 {
	costs := make([]int64, 1001)
	for i := range costs {
		first := nanotime()
		costs[i] = nanotime() - first
	}
	sort.Slice(costs, func(i, j int) bool { return costs[i] < costs[j] })
	return costs[len(costs)/2]
}
