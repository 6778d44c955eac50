// Command clocks reads a clock many times in a row and writes what it read: a line of JSON, and then of each series
// -samples readings in nanoseconds, little-endian int64. Exit status 3: this machine lacks the source.
package main

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"flag"
	"os"
	"runtime"
	"runtime/debug"
	"sort"
	"strings"
)

const (
	schema   = 1
	warmUp   = 1_000
	missing  = 3
	parts    = 100
	crossing = 3 // Ps: two for the readers on two CPUs, one for the timer that bounds them
)

// header is the output's first line. Times in nanoseconds.
type header struct {
	Schema         int      `json:"schema"`
	Source         string   `json:"source"`
	Series         []string `json:"series"`
	Samples        int      `json:"samples"`
	Calls          int      `json:"calls"`
	ElapsedNs      int64    `json:"elapsed_ns"`      // of the loop of calls, its readings of the clock included
	CPUNs          int64    `json:"cpu_ns"`          // of this thread meanwhile
	TypicalNs      float64  `json:"typical_ns"`      // of one call: the median of the loop's parts
	AcrossReadings int64    `json:"across_readings"` // after one of another CPU; 0: not tried, or one CPU
	AcrossBackward int64    `json:"across_backward"`
	CPUs           int      `json:"cpus"`
	ResolutionNs   int64    `json:"resolution_ns"`
	Clocksource    string   `json:"clocksource"`
	Available      []string `json:"available"`
}

func main() {
	name := flag.String("source", "nanotime", "nanotime, time.Now, vdso or syscall")
	samples := flag.Int("samples", 100_000, "how many successive readings to write")
	calls := flag.Int("calls", 1_000_000, "how many readings to time, in a loop that keeps none")
	rounds := flag.Int("across", 20_000, "how many readings to take by turns on two CPUs")
	onlyLoop := flag.Bool("only-loop", false, "run the loop of -calls and nothing else, for who counts system calls")
	flag.Parse()
	prepare, known := sources[*name]
	if !known {
		fail("no such source: %s", *name)
	}
	clock, err := prepare()
	if err != nil {
		os.Stderr.WriteString("clocks: " + err.Error() + "\n")
		os.Exit(missing)
	}
	if *onlyLoop {
		clock.loop(*calls)
		return
	}
	if *calls < parts {
		fail("-calls: %d is fewer than the %d parts in which they are timed", *calls, parts)
	}
	debug.SetGCPercent(-1)
	if runtime.GOMAXPROCS(0) < crossing {
		runtime.GOMAXPROCS(crossing)
	}
	runtime.LockOSThread()

	clock.loop(warmUp)
	series := clock.sample(*samples)
	about := header{
		Schema: schema, Source: *name, Series: clock.series, Samples: *samples, Calls: *calls,
		CPUs: len(allowed()), ResolutionNs: resolution(),
		Clocksource: told("current_clocksource"), Available: strings.Fields(told("available_clocksource")),
	}
	about.cost(clock.loop)
	about.AcrossReadings, about.AcrossBackward = across(clock.read, *rounds)
	write(about, series)
}

// cost times the loop of calls, in parts: what disturbs some of them does not move their median.
func (about *header) cost(loop func(int)) {
	each := about.Calls / parts
	about.Calls = each * parts
	ends := make([]int64, parts+1)
	cpu := clockGettime(clockThreadCPU)
	ends[0] = clockGettime(clockMonotonic)
	for i := 0; i < parts; i++ {
		loop(each)
		ends[i+1] = clockGettime(clockMonotonic)
	}
	about.CPUNs = clockGettime(clockThreadCPU) - cpu
	about.ElapsedNs = ends[parts] - ends[0]
	took := make([]float64, parts)
	for i := range took {
		took[i] = float64(ends[i+1]-ends[i]) / float64(each)
	}
	sort.Float64s(took)
	about.TypicalNs = took[parts/2]
}

func write(about header, series [][]int64) {
	line, err := json.Marshal(about)
	if err != nil {
		fail("%v", err)
	}
	out := bufio.NewWriterSize(os.Stdout, 1<<16)
	out.Write(append(line, '\n'))
	for _, readings := range series {
		if err := binary.Write(out, binary.LittleEndian, readings); err != nil {
			fail("%v", err)
		}
	}
	if err := out.Flush(); err != nil {
		fail("%v", err)
	}
}
