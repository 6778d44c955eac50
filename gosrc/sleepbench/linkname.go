package main

import _ "unsafe" // go:linkname

// nanotime reads CLOCK_MONOTONIC in nanoseconds (runtime/time_nofake.go). It is nosplit, so a pending
// preemption cannot come between the read and the sleep beside it.
//
//go:linkname nanotime runtime.nanotime
func nanotime() int64

// usleep waits in nanosleep(2) without telling the scheduler (runtime/sys_linux_amd64.s).
//
//go:linkname usleep runtime.usleep
func usleep(usec uint32)
