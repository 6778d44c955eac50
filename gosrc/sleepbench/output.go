package main

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"io"
)

// A header describes a run; the columns of samples follow it. Times are in nanoseconds.
type header struct {
	Schema            int       `json:"schema"`
	GoVersion         string    `json:"go_version"`
	GoArch            string    `json:"goarch"`
	GoMaxProcs        int       `json:"gomaxprocs"`
	NumCPU            int       `json:"num_cpu"`
	Pid               int       `json:"pid"`
	Method            string    `json:"method"`
	Pace              string    `json:"pace"`
	PhaseNs           int64     `json:"phase_ns"`
	Plan              []planned `json:"plan"`
	Sleepers          int       `json:"sleepers"`
	Burn              int       `json:"burn"`
	Sibling           int       `json:"sibling"`
	GC                int       `json:"gc"`
	Warmup            int       `json:"warmup"`
	Seed              int64     `json:"seed"`
	TimerSlackNs      int64     `json:"timer_slack_ns"`
	Clock             string    `json:"clock"`
	ClockResolutionNs int64     `json:"clock_resolution_ns"`
	ClockReadNs       int64     `json:"clock_read_ns"`
	N                 int64     `json:"n"`
	Columns           []string  `json:"columns"`
	WindowStartNs     int64     `json:"window_start_ns,omitempty"`
	WallNs            int64     `json:"wall_ns"`
	CPUNs             int64     `json:"cpu_ns"`
	Nvcsw             int64     `json:"nvcsw"`
	Nivcsw            int64     `json:"nivcsw"`
	ThreadsPeak       int64     `json:"threads_peak"`
	Goroutines        int64     `json:"goroutines"`
	Iterations        int64     `json:"iterations"`
	Missed            int64     `json:"missed"`
	Truncated         bool      `json:"truncated"`
}

var columns = []string{"requested_ns", "actual_ns", "start_ns", "sleeper"}

// write puts out the header line and the columns, each with the first done[i] samples of every sleeper i.
func write(out io.Writer, h *header, sleepers []*sleeper, done []int64) error {
	line, err := json.Marshal(h)
	if err != nil {
		return err
	}
	buffered := bufio.NewWriterSize(out, 1<<16)
	buffered.Write(append(line, '\n')) // bufio keeps the first error for Flush
	for _, column := range []func(*sleeper) []int64{
		func(s *sleeper) []int64 { return s.requested },
		func(s *sleeper) []int64 { return s.actual },
		func(s *sleeper) []int64 { return s.start },
	} {
		for i, s := range sleepers {
			for _, value := range column(s)[:done[i]] {
				put(buffered, value)
			}
		}
	}
	for i, s := range sleepers {
		for k := int64(0); k < done[i]; k++ {
			put(buffered, int64(s.index))
		}
	}
	for i, s := range sleepers {
		if s.tid != nil {
			for _, value := range s.tid[:done[i]] {
				put(buffered, value)
			}
		}
	}
	return buffered.Flush()
}

func put(out *bufio.Writer, value int64) {
	var word [8]byte
	binary.LittleEndian.PutUint64(word[:], uint64(value))
	out.Write(word[:])
}
