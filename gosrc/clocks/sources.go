package main

import (
	"time"
	_ "unsafe" // go:linkname
)

// nanotime reads CLOCK_MONOTONIC in nanoseconds (runtime/time_nofake.go).
//
//go:linkname nanotime runtime.nanotime
func nanotime() int64

// source is a way to read the clock. The loops are written out, one a source: a call through a variable would be in
// each figure.
type source struct {
	// series names what a reading has, in the order that sample gives it: monotonic, wall.
	series []string
	// sample gives n successive readings of each series, in nanoseconds.
	sample func(n int) [][]int64
	// loop reads and keeps nothing.
	loop func(calls int)
	// read is one reading of CLOCK_MONOTONIC.
	read func() int64
}

// The last reading of a loop goes here, so that no compiler drops the loop.
var (
	lastReading int64
	lastTime    time.Time
)

var monotonic = []string{"monotonic"}

// sources by name. Only the one that is asked for is prepared.
var sources = map[string]func() (source, error){
	"nanotime": func() (source, error) { return source{monotonic, sampleNanotime, loopNanotime, nanotime}, nil },
	"time.Now": func() (source, error) {
		return source{[]string{"monotonic", "wall"}, sampleNow, loopNow, sinceStart}, nil
	},
	"syscall": func() (source, error) {
		return source{monotonic, sampleSyscall, loopSyscall, func() int64 { return clockGettime(clockMonotonic) }}, nil
	},
	"vdso": func() (source, error) {
		var err error
		if vdsoEntry, err = findVDSO(); err != nil {
			return source{}, err
		}
		return source{monotonic, sampleVDSO, loopVDSO, readVDSO}, nil
	},
}

// filled are n readings whose memory is there: the first write to a page would be in a difference.
func filled(n int) []int64 {
	readings := make([]int64, n)
	for i := range readings {
		readings[i] = -1
	}
	return readings
}

func sampleNanotime(n int) [][]int64 {
	readings := filled(n)
	for i := range readings {
		readings[i] = nanotime()
	}
	return [][]int64{readings}
}

func loopNanotime(calls int) {
	for i := 0; i < calls; i++ {
		lastReading = nanotime()
	}
}

var start = time.Now()

func sinceStart() int64 { return int64(time.Now().Sub(start)) }

func sampleNow(n int) [][]int64 {
	times := make([]time.Time, n)
	for i := range times {
		times[i] = start
	}
	for i := range times {
		times[i] = time.Now()
	}
	mono, wall := filled(n), filled(n)
	for i, each := range times {
		// Sub takes the monotonic part where both have one, UnixNano the wall clock's (package time).
		mono[i], wall[i] = int64(each.Sub(start)), each.UnixNano()
	}
	return [][]int64{mono, wall}
}

func loopNow(calls int) {
	for i := 0; i < calls; i++ {
		lastTime = time.Now()
	}
}

func sampleSyscall(n int) [][]int64 {
	readings := filled(n)
	for i := range readings {
		readings[i] = clockGettime(clockMonotonic)
	}
	return [][]int64{readings}
}

func loopSyscall(calls int) {
	for i := 0; i < calls; i++ {
		lastReading = clockGettime(clockMonotonic)
	}
}

var vdsoEntry uintptr

func readVDSO() int64 {
	var now timespec
	callVDSO(vdsoEntry, clockMonotonic, &now)
	return now.ns()
}

func sampleVDSO(n int) [][]int64 {
	readings := filled(n)
	for i := range readings {
		readings[i] = readVDSO()
	}
	return [][]int64{readings}
}

func loopVDSO(calls int) {
	for i := 0; i < calls; i++ {
		lastReading = readVDSO()
	}
}
