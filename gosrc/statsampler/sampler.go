package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"
)

// columns of a row. The file was read between before_ns and after_ns on CLOCK_MONOTONIC, as close after deadline_ns as
// the machine allowed; every deadline is a whole number of intervals after the first.
var columns = []string{
	"deadline_ns", "before_ns", "after_ns",
	"nr_periods", "nr_throttled", "throttled_ns", "nr_bursts", "burst_ns", "usage_ns",
}

// chunkRows is how many samples are handed to the writer at a time, buffers how many chunks there are: at 2000 Hz
// the disk may take four seconds for one before the sampler waits for it.
const chunkRows, buffers = 2048, 5

type sampler struct {
	stat, usage *os.File
	interval    int64
	resolution  int64
	full, empty chan []byte
	text        [4096]byte
}

// newSampler opens the files and reads them once, so that what cannot be read is said at once.
func newSampler(o *options) (*sampler, error) {
	s := &sampler{interval: int64(time.Second) / int64(o.hz)}
	s.full, s.empty = make(chan []byte, buffers), make(chan []byte, buffers)
	for i := 0; i < buffers; i++ {
		s.empty <- make([]byte, 0, chunkRows*len(columns)*8)
	}
	var err error
	if s.stat, err = os.Open(o.stat); err != nil {
		return nil, err
	}
	if o.usage != "" {
		if s.usage, err = os.Open(o.usage); err != nil {
			return nil, err
		}
	}
	c, errno := s.read()
	if errno != 0 {
		return nil, fmt.Errorf("read %s: %v", o.stat, errno)
	}
	if c.nrPeriods == absent && c.usageNs == absent {
		return nil, fmt.Errorf("%s: neither nr_periods nor usage_usec in it; name a group's cpu.stat", o.stat)
	}
	s.resolution = c.resolutionNs
	return s, nil
}

// read reads the counters once, from the file's beginning: the kernel makes the text anew each time.
func (s *sampler) read() (counters, syscall.Errno) {
	n, errno := pread(s.stat, s.text[:])
	if errno != 0 {
		return counters{}, errno
	}
	c := parseStat(s.text[:n])
	if s.usage != nil {
		if n, errno = pread(s.usage, s.text[:]); errno != 0 {
			return counters{}, errno
		}
		c.usageNs = parseNumber(s.text[:n])
	}
	return c, 0
}

// sample takes samples until stop is set or the group is gone. It keeps its thread, sleeps in the kernel without
// telling the scheduler (whose own timers are of a millisecond), and blocks signals so that none can cut a sleep short.
func (s *sampler) sample(stop *atomic.Int32, out io.Writer) *trailer {
	runtime.LockOSThread()
	blockSignals()
	setTimerSlack(1)
	priority := goBeforeOthers()
	t := &trailer{}
	began, cpu := now(), cpuTime()
	deadline := began + s.interval
	first := &header{
		Schema: 1, GoVersion: runtime.Version(), Pid: os.Getpid(), Columns: columns, IntervalNs: s.interval,
		FirstDeadlineNs: deadline, ResolutionNs: s.resolution, TimerSlackNs: timerSlack(),
		Priority: priority,
	}
	if err := printLine(out, first); err != nil {
		fail("%v", err)
	}
	chunk := <-s.empty
	ending := int32(running)
	for ending == running {
		sleepUntil(deadline)
		// Asked before the sample is taken: what happened until the wish came is in the last sample.
		ending = stop.Load()
		before := now()
		c, errno := s.read()
		after := now()
		if errno == syscall.ENODEV { // kernfs, of a removed file
			ending = byRemoval
			break
		}
		if errno != 0 {
			fail("reading the counters: %v", errno)
		}
		row := [...]int64{
			deadline, before, after,
			c.nrPeriods, c.nrThrottled, c.throttledNs, c.nrBursts, c.burstNs, c.usageNs,
		}
		for _, value := range row {
			chunk = binary.LittleEndian.AppendUint64(chunk, uint64(value))
		}
		t.Samples++
		if len(chunk) == cap(chunk) {
			s.full <- chunk
			chunk = <-s.empty
		}
		// The grid stays: deadlines that have passed are left out, never caught up with.
		passed := (now() - deadline) / s.interval
		t.Missed += passed
		deadline += (passed + 1) * s.interval
	}
	t.WallNs, t.CPUNs, t.Ended = now()-began, cpuTime()-cpu, endings[ending]
	s.full <- chunk
	return t
}

// writeAll writes the chunks until there are no more and gives them back. An error ends the program from here: the
// sampler may be waiting for a chunk, and cannot be told.
func writeAll(out io.Writer, full <-chan []byte, empty chan<- []byte) {
	for chunk := range full {
		if _, err := out.Write(chunk); err != nil {
			fail("%v", err)
		}
		empty <- chunk[:0]
	}
}
