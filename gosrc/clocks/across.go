package main

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// A partner that lost its CPU to other work is not waited for without end.
const acrossLimit = 2 * time.Second

// relay is a clock read by turns on two CPUs: each reading is taken after the one before was seen.
type relay struct {
	turn     int64 // of the next reading; its parity tells whose it is
	last     int64 // written by whose turn it is
	backward int64 // readings smaller than the one before
	stop     int32
}

// across reads by turns on two CPUs; it gives how many readings followed one of the other CPU, and how many of them
// were smaller than that one. (0, 0) where this process has one CPU.
func across(read func() int64, rounds int) (int64, int64) {
	cpus := allowed()
	if len(cpus) < 2 || rounds == 0 {
		return 0, 0
	}
	shared := &relay{last: -1 << 62}
	timer := time.AfterFunc(acrossLimit, func() { atomic.StoreInt32(&shared.stop, 1) })
	defer timer.Stop()
	var both sync.WaitGroup
	for parity, cpu := range []int{cpus[0], cpus[len(cpus)-1]} {
		both.Add(1)
		go shared.run(read, int64(parity), cpu, int64(rounds), &both)
	}
	both.Wait()
	if shared.turn < 2 {
		return 0, 0
	}
	return shared.turn - 1, shared.backward
}

func (shared *relay) run(read func() int64, parity int64, cpu int, rounds int64, both *sync.WaitGroup) {
	defer both.Done()
	runtime.LockOSThread() // never unlocked: the pinned thread ends with the goroutine
	pin(cpu)
	for turn := parity; turn <= rounds; turn += 2 {
		for atomic.LoadInt64(&shared.turn) != turn {
			if atomic.LoadInt32(&shared.stop) != 0 {
				return
			}
		}
		now := read()
		if now < shared.last {
			shared.backward++
		}
		shared.last = now
		atomic.StoreInt64(&shared.turn, turn+1)
	}
}
