package main

import (
	"os"
	"runtime"
	"runtime/pprof"
	"syscall"
	"time"
)

// usedTime is the CPU time of the whole process.
func usedTime() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		panic(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// ticks writes the CPU profile of a program that does little but wait: as many tickers as -sleepers says, none in step.
// The compiler takes it for what is hot (go build -pgo) and inlines the scheduler's waiting as it sees fit. It ends when
// it has used -for of CPU time: so long must a profile be, however little of the machine it gets.
func ticks(o *options) (map[string]any, bool, error) {
	file, err := os.Create(o.profile)
	if err != nil {
		return nil, false, err
	}
	runtime.SetCPUProfileRate(profileHz) // as in profile
	if err := pprof.StartCPUProfile(file); err != nil {
		return nil, false, err
	}
	for i := 0; i < o.sleepers; i++ {
		ticker := time.NewTicker(o.requested + time.Duration(37*i)*time.Microsecond)
		defer ticker.Stop()
		go func() {
			for range ticker.C {
			}
		}()
	}
	for usedTime() < o.length {
		time.Sleep(10 * time.Millisecond)
	}
	pprof.StopCPUProfile()
	return map[string]any{}, true, file.Close()
}
