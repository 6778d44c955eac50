package main

import (
	"runtime"
	"runtime/metrics"
	"syscall"
	"time"
	"unsafe"
)

// lockedSleep is time.Sleep of a goroutine that is locked to its thread meanwhile: the thread can run no other.
func lockedSleep(d time.Duration) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	time.Sleep(d)
}

// blockingSleep waits in nanosleep(2), entered as any system call that may block is (runtime.entersyscall). The
// runtime's preemption signal may end the call early: the rest of the time is waited for then.
func blockingSleep(d time.Duration) {
	rest := syscall.NsecToTimespec(int64(d))
	for {
		pointer := uintptr(unsafe.Pointer(&rest))
		_, _, errno := syscall.Syscall(syscall.SYS_NANOSLEEP, pointer, pointer, 0)
		if errno == 0 {
			return
		}
		if errno != syscall.EINTR {
			fail("nanosleep: %v", errno)
		}
	}
}

// cpuTime is the whole process's CPU time in nanoseconds (getrusage(2)).
func cpuTime() int64 {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		fail("getrusage: %v", err)
	}
	return usage.Utime.Nano() + usage.Stime.Nano()
}

// goroutines are the runtime's own counts (runtime/metrics, Go 1.26 and later); -1 where it has none.
type goroutines struct {
	NotInGo int64 `json:"not_in_go"`
	Waiting int64 `json:"waiting"`
	Threads int64 `json:"threads"`
}

func countGoroutines() goroutines {
	samples := []metrics.Sample{
		{Name: "/sched/goroutines/not-in-go:goroutines"},
		{Name: "/sched/goroutines/waiting:goroutines"},
		{Name: "/sched/threads/total:threads"},
	}
	metrics.Read(samples)
	counts := [3]int64{-1, -1, -1}
	for i := range samples {
		if samples[i].Value.Kind() == metrics.KindUint64 {
			counts[i] = int64(samples[i].Value.Uint64())
		}
	}
	return goroutines{counts[0], counts[1], counts[2]}
}
