package main

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"unsafe"
)

// Numbers of linux/include/uapi/linux/time.h, prctl.h and asm-generic/signal-defs.h.
const (
	clockMonotonic   = 1
	prGetTimerSlack  = 30
	sigSetMask       = 2
	kernelSigSetSize = 8
)

// counters are the kernel's figures for the whole process so far (getrusage(2), RUSAGE_SELF).
type counters struct{ cpuNs, nvcsw, nivcsw int64 }

func readCounters() counters {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		fail("getrusage: %v", err)
	}
	return counters{usage.Utime.Nano() + usage.Stime.Nano(), usage.Nvcsw, usage.Nivcsw}
}

// clockResolution is clock_getres(2) of CLOCK_MONOTONIC in nanoseconds.
func clockResolution() int64 {
	var resolution syscall.Timespec
	_, _, errno := syscall.RawSyscall(syscall.SYS_CLOCK_GETRES, clockMonotonic, uintptr(unsafe.Pointer(&resolution)), 0)
	if errno != 0 {
		fail("clock_getres: %v", errno)
	}
	return resolution.Nano()
}

// timerSlack is the calling thread's timer slack in nanoseconds (prctl(2), PR_GET_TIMERSLACK).
func timerSlack() int64 {
	slack, _, errno := syscall.RawSyscall(syscall.SYS_PRCTL, prGetTimerSlack, 0, 0)
	if errno != 0 {
		fail("prctl(PR_GET_TIMERSLACK): %v", errno)
	}
	return int64(slack)
}

// blockSignals blocks every signal on the calling thread, so that neither SIGURG (the runtime's preemption)
// nor SIGTERM can end a raw sleep early.
func blockSignals() {
	all := ^uint64(0)
	_, _, errno := syscall.RawSyscall6(syscall.SYS_RT_SIGPROCMASK, sigSetMask, uintptr(unsafe.Pointer(&all)), 0, kernelSigSetSize, 0, 0)
	if errno != 0 {
		fail("rt_sigprocmask: %v", errno)
	}
}

// threads is the number of the process's threads as the kernel counts them. The runtime keeps idle threads for
// ever and the locked ones stay until the count is taken, so at the end of the window it is the peak.
func threads() int64 {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		fail("%v", err)
	}
	key := []byte("\nThreads:")
	at := bytes.Index(status, key)
	if at < 0 {
		fail("/proc/self/status has no Threads line")
	}
	line := status[at+len(key):]
	line = line[:bytes.IndexByte(line, '\n')]
	count, err := strconv.ParseInt(string(bytes.TrimSpace(line)), 10, 64)
	if err != nil {
		fail("/proc/self/status: %v", err)
	}
	return count
}

// fail ends the program: the machine refused something that the measurement needs.
func fail(format string, values ...any) {
	fmt.Fprintf(os.Stderr, "sleepbench: "+format+"\n", values...)
	os.Exit(1)
}
