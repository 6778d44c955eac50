package main

import (
	"os"
	"os/signal"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"
)

var sentSignals = []syscall.Signal{syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGHUP}

// signals sends signals during the sleeps, and counts what os/signal delivers of them. SIGTERM ends it early.
func signals(o *options) (map[string]any, bool, error) {
	c := &crew{}
	delivered := make([]atomic.Int64, len(sentSignals))
	for i, sig := range sentSignals {
		channel, count := make(chan os.Signal, 1024), &delivered[i]
		signal.Notify(channel, sig)
		go func() {
			for range channel {
				count.Add(1)
			}
		}()
	}
	c.start(o.sleepers, func(int) { c.sleep(o.requested) })
	result := make(chan sending, 1)
	go func() { result <- send(c, sentSignals) }()
	enough := make(chan os.Signal, 1)
	signal.Notify(enough, syscall.SIGTERM)
	select {
	case <-time.After(o.length):
	case <-enough:
	}
	c.finish(0)
	sent := <-result
	if sent.err != nil {
		return nil, false, sent.err
	}
	ok := c.sound()
	counts := map[string]int64{}
	for i, sig := range sentSignals {
		counts[sig.String()] = delivered[i].Load()
		ok = ok && delivered[i].Load() > 0
	}
	figures := c.figures()
	figures["sent"], figures["delivered"] = sent.count, counts
	return figures, ok, nil
}

type sending struct {
	count int64
	err   error
}

// send sends the signals by turns at about 1 kHz until the crew stops, to the process and to each of its threads in
// turn, so that the thread that waits for the sleepers is met there: its system call ends with EINTR, the sleep must
// not.
func send(c *crew, signals []syscall.Signal) sending {
	pid := os.Getpid()
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	var count int64
	var tids []int
	for !c.stop.Load() {
		<-ticker.C
		sig := signals[count%int64(len(signals))]
		if len(tids) == 0 {
			var err error
			if tids, err = threadIDs(); err != nil {
				return sending{count, err}
			}
			if err := syscall.Kill(pid, sig); err != nil {
				return sending{count, err}
			}
		} else {
			// ESRCH: the thread has ended since the list was read.
			_, _, errno := syscall.RawSyscall(syscall.SYS_TGKILL, uintptr(pid), uintptr(tids[0]), uintptr(sig))
			if errno != 0 && errno != syscall.ESRCH {
				return sending{count, errno}
			}
			tids = tids[1:]
		}
		count++
	}
	return sending{count, nil}
}

func threadIDs() ([]int, error) {
	entries, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return nil, err
	}
	tids := make([]int, 0, len(entries))
	for _, entry := range entries {
		tid, err := strconv.Atoi(entry.Name())
		if err != nil {
			return nil, err
		}
		tids = append(tids, tid)
	}
	return tids, nil
}
