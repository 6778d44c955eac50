package main

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"sync/atomic"
)

// many lets thousands sleep at once, and tells how many threads that took.
func many(o *options) (map[string]any, bool, error) {
	c := &crew{}
	var completed atomic.Int64
	slept := make([]bool, o.sleepers)
	c.start(o.sleepers, func(i int) {
		c.sleep(o.requested)
		if !slept[i] {
			slept[i] = true
			completed.Add(1)
		}
	})
	c.begun.Wait()
	c.finish(o.length)
	peak, err := threads()
	if err != nil {
		return nil, false, err
	}
	figures := c.figures()
	figures["completed"], figures["threads_peak"] = completed.Load(), peak
	return figures, c.sound() && completed.Load() == int64(o.sleepers), nil
}

// threads is the kernel's count of this process's threads. The runtime keeps idle threads for ever, so the count
// at the end is the peak.
func threads() (int, error) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	for _, line := range bytes.Split(status, []byte("\n")) {
		if value := bytes.TrimPrefix(line, []byte("Threads:")); len(value) < len(line) {
			return strconv.Atoi(string(bytes.TrimSpace(value)))
		}
	}
	return 0, fmt.Errorf("/proc/self/status has no Threads line")
}
