package main

import (
	"context"
	"runtime"
	"sort"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

// nap sleeps for d and gives the clock just before and just after.
type nap func(d time.Duration) (before, after int64)

// A method is one way to sleep. open is called once on each sleeper's own goroutine and may keep state.
type method struct {
	open func() nap
	// holdsThread: the wait is a raw system call that the scheduler does not see. The sleeper keeps its
	// processor (P) and its thread, and signals are blocked so that none can end the wait early.
	holdsThread bool
}

var methods = map[string]method{
	"sleep":   {open: openSleep},
	"timer":   {open: openTimer},
	"ticker":  {open: openTicker},
	"context": {open: openContext},
	"gosched": {open: openGosched},
	// What programs do today where a sleep must be precise.
	"nanosleep":       {open: openNanosleep},
	"sleep-then-spin": {open: openSleepThenSpin},
	"usleep":          {open: openUsleep, holdsThread: true},
	"floor":           {open: openFloor, holdsThread: true},
	// What timers are compared with: looking at the clock, every so often or all the time.
	"poll1ms":  {open: openPolled(time.Millisecond)},
	"poll10ms": {open: openPolled(10 * time.Millisecond)},
	"busy":     {open: openPolled(0)},
}

func methodNames() []string {
	names := make([]string, 0, len(methods))
	for name := range methods {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}

func openSleep() nap {
	return func(d time.Duration) (before, after int64) {
		before = nanotime()
		time.Sleep(d)
		return before, nanotime()
	}
}

// openTimer uses one timer for all sleeps: a timer that fired and was received from may be Reset in every release.
func openTimer() nap {
	timer := time.NewTimer(0)
	<-timer.C
	return func(d time.Duration) (before, after int64) {
		before = nanotime()
		timer.Reset(d)
		<-timer.C
		return before, nanotime()
	}
}

// openTicker makes a ticker for each sleep: before Go 1.23 Stop and Reset may leave a stale tick in the channel,
// which would end the next sleep early.
func openTicker() nap {
	return func(d time.Duration) (before, after int64) {
		before = nanotime()
		ticker := time.NewTicker(d)
		<-ticker.C
		after = nanotime()
		ticker.Stop()
		return before, after
	}
}

func openContext() nap {
	return func(d time.Duration) (before, after int64) {
		before = nanotime()
		ctx, cancel := context.WithTimeout(context.Background(), d)
		<-ctx.Done()
		after = nanotime()
		cancel()
		return before, after
	}
}

// yields counts how often the sleepers of method gosched came round.
var yields atomic.Int64

// openGosched does not sleep: it yields, again and again, until the time has passed.
func openGosched() nap {
	return func(d time.Duration) (before, after int64) {
		before = nanotime()
		count := int64(0)
		for after = before; after-before < int64(d); after = nanotime() {
			runtime.Gosched()
			count++
		}
		yields.Add(count)
		return before, after
	}
}

// openNanosleep sleeps in an ordinary blocking system call. The scheduler knows of it: it hands the processor on, and
// wants it back afterwards. A signal, such as the runtime's own for preemption, ends the wait, which goes on with what
// remained of it.
func openNanosleep() nap {
	request := new(syscall.Timespec)
	return func(d time.Duration) (before, after int64) {
		*request = syscall.NsecToTimespec(int64(d))
		before = nanotime()
		for {
			err := syscall.Nanosleep(request, request)
			if err == nil {
				return before, nanotime()
			}
			if err != syscall.EINTR {
				fail("nanosleep: %v", err)
			}
		}
	}
}

// spinMargin is how much earlier than asked the sleep of sleep-then-spin is to end. A stock time.Sleep ends up to a
// millisecond late, since netpoll waits whole milliseconds and at least one; the rest is for timer slack and wake-up.
const spinMargin = 1_200 * time.Microsecond

// openSleepThenSpin sleeps all but a margin and reads the clock for the rest. Programs that do so differ in the margin
// and in whether the loop yields; this loop keeps its processor, which is the more precise. Method gosched shows what
// yielding alone costs.
func openSleepThenSpin() nap {
	return func(d time.Duration) (before, after int64) {
		before = nanotime()
		if d > spinMargin {
			time.Sleep(d - spinMargin)
		}
		for after = nanotime(); after-before < int64(d); after = nanotime() {
		}
		return before, after
	}
}

func openUsleep() nap {
	holdThread()
	return func(d time.Duration) (before, after int64) {
		usec := uint32((d + time.Microsecond - 1) / time.Microsecond)
		before = nanotime()
		usleep(usec)
		return before, nanotime()
	}
}

func openFloor() nap {
	holdThread()
	request := new(syscall.Timespec)
	return func(d time.Duration) (before, after int64) {
		*request = syscall.NsecToTimespec(int64(d))
		before = nanotime()
		_, _, errno := syscall.RawSyscall6(syscall.SYS_CLOCK_NANOSLEEP, clockMonotonic, 0, uintptr(unsafe.Pointer(request)), 0, 0, 0)
		after = nanotime()
		if errno != 0 {
			fail("clock_nanosleep: %v", errno)
		}
		return before, after
	}
}

func holdThread() {
	runtime.LockOSThread()
	blockSignals()
}
