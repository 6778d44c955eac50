package main

import (
	"fmt"
	"os"
	"syscall"
	"unsafe"
)

// Numbers of linux/include/uapi/linux/time.h, prctl.h, sched.h and asm-generic/signal-defs.h.
const (
	clockMonotonic   = 1
	timerAbstime     = 1
	prSetTimerSlack  = 29
	prGetTimerSlack  = 30
	schedFIFO        = 1
	resetOnFork      = 0x40000000
	prioProcess      = 0
	sigSetMask       = 2
	kernelSigSetSize = 8
)

// now is CLOCK_MONOTONIC in nanoseconds.
func now() int64 {
	var ts syscall.Timespec
	_, _, errno := syscall.RawSyscall(syscall.SYS_CLOCK_GETTIME, clockMonotonic, uintptr(unsafe.Pointer(&ts)), 0)
	if errno != 0 {
		fail("clock_gettime: %v", errno)
	}
	return ts.Nano()
}

// sleepUntil sleeps until CLOCK_MONOTONIC shows at least deadline.
func sleepUntil(deadline int64) {
	ts := syscall.NsecToTimespec(deadline)
	_, _, errno := syscall.RawSyscall6(syscall.SYS_CLOCK_NANOSLEEP, clockMonotonic, timerAbstime, uintptr(unsafe.Pointer(&ts)), 0, 0, 0)
	if errno != 0 {
		fail("clock_nanosleep: %v", errno)
	}
}

// pread reads a file from its beginning.
func pread(file *os.File, into []byte) (int, syscall.Errno) {
	n, _, errno := syscall.RawSyscall6(syscall.SYS_PREAD64, file.Fd(), uintptr(unsafe.Pointer(&into[0])), uintptr(len(into)), 0, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), 0
}

// cpuTime is the whole process's CPU time in nanoseconds (getrusage(2)).
func cpuTime() int64 {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		fail("getrusage: %v", err)
	}
	return usage.Utime.Nano() + usage.Stime.Nano()
}

// setTimerSlack sets the calling thread's, in nanoseconds (prctl(2)).
func setTimerSlack(slack int64) {
	if _, _, errno := syscall.RawSyscall(syscall.SYS_PRCTL, prSetTimerSlack, uintptr(slack), 0); errno != 0 {
		fail("prctl(PR_SET_TIMERSLACK): %v", errno)
	}
}

// goBeforeOthers asks for the calling thread to run as soon as its deadline has come, on a busy machine too; what it
// was given, it says. It needs CAP_SYS_NICE, and goes without.
func goBeforeOthers() string {
	priority := int32(1)
	_, _, errno := syscall.RawSyscall(syscall.SYS_SCHED_SETSCHEDULER, 0, schedFIFO|resetOnFork, uintptr(unsafe.Pointer(&priority)))
	if errno == 0 {
		return "fifo 1"
	}
	if err := syscall.Setpriority(prioProcess, 0, -20); err == nil {
		return "nice -20"
	}
	return "nice 0"
}

func timerSlack() int64 {
	slack, _, errno := syscall.RawSyscall(syscall.SYS_PRCTL, prGetTimerSlack, 0, 0)
	if errno != 0 {
		fail("prctl(PR_GET_TIMERSLACK): %v", errno)
	}
	return int64(slack)
}

// blockSignals blocks every signal on the calling thread; the other threads take them.
func blockSignals() {
	all := ^uint64(0)
	_, _, errno := syscall.RawSyscall6(syscall.SYS_RT_SIGPROCMASK, sigSetMask, uintptr(unsafe.Pointer(&all)), 0, kernelSigSetSize, 0, 0)
	if errno != 0 {
		fail("rt_sigprocmask: %v", errno)
	}
}

// fail ends the program: the machine refused something that sampling needs.
func fail(format string, values ...any) {
	fmt.Fprintf(os.Stderr, "statsampler: "+format+"\n", values...)
	os.Exit(1)
}
