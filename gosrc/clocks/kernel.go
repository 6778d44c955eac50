package main

import (
	"fmt"
	"math/bits"
	"os"
	"strings"
	"syscall"
	"unsafe"
)

// Numbers of linux/include/uapi/linux/time.h, and where the kernel tells what it reads time from.
const (
	clockMonotonic = 1
	clockThreadCPU = 3
	clockSources   = "/sys/devices/system/clocksource/clocksource0/"
)

type timespec struct{ sec, nsec int64 }

func (t *timespec) ns() int64 { return t.sec*1_000_000_000 + t.nsec }

// clockGettime is the system call itself, as no libc makes it where there is a vDSO.
func clockGettime(clock uintptr) int64 {
	var now timespec
	syscall.RawSyscall(syscall.SYS_CLOCK_GETTIME, clock, uintptr(unsafe.Pointer(&now)), 0)
	return now.ns()
}

// resolution is clock_getres(2) of CLOCK_MONOTONIC in nanoseconds: that of timers, not the step of the counter.
func resolution() int64 {
	var answer timespec
	_, _, errno := syscall.RawSyscall(syscall.SYS_CLOCK_GETRES, clockMonotonic, uintptr(unsafe.Pointer(&answer)), 0)
	if errno != 0 {
		fail("clock_getres: %v", errno)
	}
	return answer.ns()
}

// told is a line of the kernel about its clock sources, or "" where it says nothing (a sandbox).
func told(name string) string {
	text, err := os.ReadFile(clockSources + name)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}

// cpuSet is the bit mask of sched_setaffinity(2), room for 1,024 CPUs.
type cpuSet [16]uint64

// allowed are the numbers of the CPUs that this thread may run on.
func allowed() []int {
	var set cpuSet
	_, _, errno := syscall.RawSyscall(syscall.SYS_SCHED_GETAFFINITY, 0, unsafe.Sizeof(set), uintptr(unsafe.Pointer(&set)))
	if errno != 0 {
		fail("sched_getaffinity: %v", errno)
	}
	var cpus []int
	for i, word := range set {
		for ; word != 0; word &= word - 1 {
			cpus = append(cpus, 64*i+bits.TrailingZeros64(word))
		}
	}
	return cpus
}

// pin keeps this thread on one CPU.
func pin(cpu int) {
	var set cpuSet
	set[cpu/64] = 1 << (cpu % 64)
	_, _, errno := syscall.RawSyscall(syscall.SYS_SCHED_SETAFFINITY, 0, unsafe.Sizeof(set), uintptr(unsafe.Pointer(&set)))
	if errno != 0 {
		fail("sched_setaffinity: %v", errno)
	}
}

// fail ends the program: the machine refused something that the measurement needs.
func fail(format string, values ...any) {
	fmt.Fprintf(os.Stderr, "clocks: "+format+"\n", values...)
	os.Exit(1)
}
