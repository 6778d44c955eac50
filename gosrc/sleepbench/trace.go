package main

import (
	"os"
	"runtime/trace"
)

// startTrace begins an execution trace in a file, and gives what ends it; nothing is traced without a name. Tracing
// costs time at every change of a goroutine's state: it shows where a sleep waits, not how long one lasts otherwise.
func startTrace(name string) (end func()) {
	if name == "" {
		return func() {}
	}
	file, err := os.Create(name)
	if err != nil {
		fail("%v", err)
	}
	if err := trace.Start(file); err != nil {
		fail("%v", err)
	}
	return func() {
		trace.Stop()
		if err := file.Close(); err != nil {
			fail("%v", err)
		}
	}
}
