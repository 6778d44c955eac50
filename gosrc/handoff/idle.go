package main

import "sync"

// A rest is one time of sleeping, all sleepers together.
type rest struct {
	WallNs int64 `json:"wall_ns"`
	CPUNs  int64 `json:"cpu_ns"`
}

// idle lets goroutines sleep while nothing else is to be done. With -trace it puts marks, <word>, between the
// scheduler's lines: print writes them at once, without a system call that the scheduler would know of.
func idle(o *options) any {
	found := make([]rest, o.sleeps+1) // the first warms up: sysmon has no record of a system call on these Ps yet
	for i := range found {
		before, start := cpuTime(), nanotime()
		mark(o, "begin")
		var awake sync.WaitGroup
		awake.Add(o.sleepers)
		for k := 0; k < o.sleepers; k++ {
			go func() {
				mark(o, "asleep")
				o.method(o.length)
				mark(o, "awake")
				awake.Done()
			}()
		}
		awake.Wait()
		found[i] = rest{nanotime() - start, cpuTime() - before}
	}
	return map[string]any{"rests": found[1:], "end": countGoroutines()}
}

// mark writes a word in one print, which the runtime keeps whole (runtime.printlock).
func mark(o *options, word string) {
	if o.trace {
		print("<", word, ">\n")
	}
}
