package main

import (
	"math/rand"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"
)

// A handed sleep is what came of one sleep. Times are CLOCK_MONOTONIC in nanoseconds; counts are rounds of work, of the
// computing goroutine before the sleep (base) and during it.
type handed struct {
	EnteredNs  int64      `json:"entered_ns"`
	FirstNs    int64      `json:"first_ns"`
	ActualNs   int64      `json:"actual_ns"`
	SameThread bool       `json:"same_thread"`
	BaseNs     int64      `json:"base_ns"`
	BaseCount  int64      `json:"base_count"`
	SleepNs    int64      `json:"sleep_ns"`
	SleepCount int64      `json:"sleep_count"`
	During     goroutines `json:"during"`
}

// hand lets one goroutine sleep and another compute on the same P.
func hand(o *options) any {
	var entered, thread, woken atomic.Int64
	begin := make(chan struct{})
	go func() {
		for range begin {
			thread.Store(int64(syscall.Gettid()))
			entered.Store(nanotime())
			o.method(o.length)
			woken.Store(nanotime())
		}
	}()
	dice := rand.New(rand.NewSource(o.seed))
	found := make([]handed, o.sleeps+1) // the first warms up: sysmon has no record of a system call on this P yet
	for i := range found {
		h := &found[i]
		entered.Store(0)
		woken.Store(0)
		// Half a sleep to one and a half, so that the sleeps do not fall into step with sysmon's rounds.
		start := nanotime()
		h.BaseCount = computeUntil(start + int64(o.length)/2 + dice.Int63n(int64(o.length)))
		h.BaseNs = nanotime() - start

		begin <- struct{}{}
		for entered.Load() == 0 {
			runtime.Gosched()
		}
		h.FirstNs, h.EnteredNs = nanotime(), entered.Load()
		h.SameThread = thread.Load() == int64(syscall.Gettid())
		// It ends before the sleep does, so that all of it lies in the sleep.
		h.SleepCount = computeUntil(h.EnteredNs + int64(o.length)*4/5)
		h.SleepNs = nanotime() - h.EnteredNs
		if woken.Load() == 0 {
			h.During = countGoroutines()
		} else {
			h.During = goroutines{-1, -1, -1}
		}
		for woken.Load() == 0 {
			runtime.Gosched()
		}
		h.ActualNs = woken.Load() - h.EnteredNs
	}
	return map[string]any{"sleeps": found[1:], "threads": countGoroutines().Threads}
}

// computeUntil works until the clock shows the deadline and gives the rounds that it did.
func computeUntil(deadline int64) (rounds int64) {
	x := uint64(1)
	for nanotime() < deadline {
		for i := 0; i < 1<<10; i++ {
			x = x*6364136223846793005 + 1442695040888963407
		}
		rounds++
	}
	kept.Store(x)
	return rounds
}

// kept keeps the compiler from dropping the work.
var kept atomic.Uint64

// A shared is how far one goroutine got in WindowNs, and what the whole process used meanwhile.
type shared struct {
	WindowNs   int64 `json:"window_ns"`
	Count      int64 `json:"count"`
	OtherCount int64 `json:"other_count"`
	CPUNs      int64 `json:"cpu_ns"`
}

// share computes for a window beside another goroutine that computes, is parked, or sleeps again and again.
func share(o *options) any {
	var other atomic.Int64
	ready := make(chan struct{})
	go func() {
		ready <- struct{}{}
		for {
			switch o.beside {
			case "compute":
				other.Add(computeUntil(nanotime() + int64(time.Millisecond)))
			case "park":
				select {}
			default:
				o.method(o.length)
			}
		}
	}()
	<-ready
	before, start := cpuTime(), nanotime()
	count := computeUntil(start + int64(o.window))
	return shared{nanotime() - start, count, other.Load(), cpuTime() - before}
}
