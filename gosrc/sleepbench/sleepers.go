package main

import (
	"math/rand"
	"sync/atomic"
	"time"
)

// A sleeper is one sleeping goroutine and its samples: requested, actual and start are columns of the same
// length, filled up to done. All of it is allocated, and touched, before the window.
type sleeper struct {
	requested, actual, start []int64
	tid                      []int64 // nil unless -trace-wakes
	done                     atomic.Int64
	missed                   atomic.Int64
	index                    int
}

// newSleeper lays out the plan in an order of the sleeper's own.
func newSleeper(o *options, index int) *sleeper {
	n := o.perSleeper()
	s := &sleeper{requested: make([]int64, 0, n), actual: make([]int64, n), start: make([]int64, n), index: index}
	for _, part := range o.plan {
		for i := 0; i < part.Samples; i++ {
			s.requested = append(s.requested, part.RequestedNs)
		}
	}
	order := rand.New(rand.NewSource(o.seed + int64(index)<<32))
	order.Shuffle(n, func(i, j int) { s.requested[i], s.requested[j] = s.requested[j], s.requested[i] })
	for i := range s.actual {
		s.actual[i], s.start[i] = -1, -1 // page faults happen here, not among the samples
	}
	return s
}

// A window is the measured time: it begins at t0 on the monotonic clock and ends when every sleeper is done,
// when no new sleep may start (limit, 0 for none), or when stop is set.
type window struct {
	t0, limit int64
	stop      atomic.Bool
}

func (w *window) open(now int64) bool {
	return !w.stop.Load() && (w.limit == 0 || now-w.t0 < w.limit)
}

// relative sleeps each planned duration, one after the other.
func (s *sleeper) relative(w *window, sleep nap) {
	for k, requested := range s.requested {
		if !w.open(nanotime()) {
			return
		}
		before, after := sleep(time.Duration(requested))
		s.woke(k)
		s.actual[k], s.start[k] = after-before, before-w.t0
		s.done.Store(int64(k) + 1)
	}
}

// absolute sleeps until deadlines one interval apart. What is recorded is counted from the deadline before, not
// from the moment the sleeper came round to sleeping: a late wake-up makes the next sleep shorter, never the
// schedule later, so no lateness is left out (coordinated omission).
func (s *sleeper) absolute(w *window, sleep nap, phase time.Duration) {
	previous := w.t0 + int64(s.index)*int64(phase)
	for k, interval := range s.requested {
		now := nanotime()
		if !w.open(now) {
			return
		}
		deadline := previous + interval
		if now < deadline {
			_, now = sleep(time.Duration(deadline - now))
		} else {
			s.missed.Add(1)
		}
		s.woke(k)
		s.actual[k], s.start[k] = now-previous, previous-w.t0
		s.done.Store(int64(k) + 1)
		previous = deadline
	}
}
