package main

import (
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

const timerAbsTime = 1 // TIMER_ABSTIME of linux/include/uapi/linux/time.h

// A poller ends sleeps without timers: one goroutine looks at the clock every tick, whether anything is due or not,
// and wakes every sleeper whose deadline has passed. So its cost hardly depends on how many sleep, or for how long.
//
// It waits for the points of a grid, so that late wake-ups do not add up, in a raw system call. Were the scheduler
// told of the call, sysmon would take the processor away every 10 ms and wake up every 20 µs for a while afterwards
// (retake, runtime/proc.go): that is no cost of polling. What remains is that sysmon wakes up some hundred times a
// second, since a processor is never idle. With -gomaxprocs 1 whoever is woken runs on the poller's own thread, at
// once, and no other thread is woken up for it.
type poller struct {
	mu      sync.Mutex
	waiters []*waiter
	woken   atomic.Int64 // have been woken and did not run yet
}

// A waiter is a sleeper's place with the poller.
type waiter struct {
	deadline atomic.Int64 // 0: does not sleep
	wake     chan struct{}
}

// openPolled gives sleeps that a poller with this tick ends; a tick of 0 never waits between two looks. All sleepers
// of the method share the poller.
func openPolled(tick time.Duration) func() nap {
	var once sync.Once
	p := &poller{}
	return func() nap {
		w := &waiter{wake: make(chan struct{}, 1)}
		p.mu.Lock()
		p.waiters = append(p.waiters, w)
		p.mu.Unlock()
		once.Do(func() { go p.run(int64(tick)) })
		return func(d time.Duration) (before, after int64) {
			before = nanotime()
			w.deadline.Store(before + int64(d))
			<-w.wake
			after = nanotime()
			p.woken.Add(-1)
			return before, after
		}
	}
}

// run looks for ever. After each look it yields, at least once and until everyone it woke has run: the scheduler
// takes this goroutine out of turn now and then, and whoever is left would wait for the next tick.
func (p *poller) run(tick int64) {
	request := new(syscall.Timespec)
	next := nanotime()
	for {
		if tick > 0 {
			next += ((nanotime()-next)/tick + 1) * tick // the next on the grid that has not passed
			waitUntil(request, next)
		}
		p.look(nanotime())
		runtime.Gosched()
		for p.woken.Load() > 0 {
			runtime.Gosched()
		}
	}
}

// look wakes who is due.
func (p *poller) look(now int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, w := range p.waiters {
		if deadline := w.deadline.Load(); deadline != 0 && deadline <= now {
			w.deadline.Store(0)
			p.woken.Add(1)
			w.wake <- struct{}{}
		}
	}
}

// waitUntil waits for a time of CLOCK_MONOTONIC. The runtime's own signals end the call early; it is made again.
func waitUntil(request *syscall.Timespec, at int64) {
	*request = syscall.NsecToTimespec(at)
	for {
		_, _, errno := syscall.RawSyscall6(syscall.SYS_CLOCK_NANOSLEEP, clockMonotonic, timerAbsTime, uintptr(unsafe.Pointer(request)), 0, 0, 0)
		if errno == 0 {
			return
		}
		if errno != syscall.EINTR {
			fail("clock_nanosleep: %v", errno)
		}
	}
}
