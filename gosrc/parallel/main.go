// Command parallel does work of one kind on several threads, and tells how much and how late: what a change of the
// scheduler must not make worse.
//
//	beside  one goroutine sleeps for a millisecond and computes for longer, and another sleeps to deadlines of its own
//	fork    every half a millisecond a timer's goroutine splits work in two and waits for both halves
//	echo    a client and a server on one TCP connection, a byte each way
//	stream  one goroutine hands pieces of work to others by a channel
//
// It writes one JSON line: "done" pieces of work in "wall_ns", and of each the latency, sorted, at p50 and p99.
// Exit status: 0 done, 1 failed, 2 bad options.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"sort"
	"sync"
	"syscall"
	"time"
)

// A kind of work runs until the time is up and gives the latency of each piece, in ns.
type kind func(end time.Time) ([]int64, error)

var kinds = map[string]kind{"beside": beside, "fork": fork, "echo": echo, "stream": stream}

type report struct {
	Kind       string `json:"kind"`
	GoMaxProcs int    `json:"gomaxprocs"`
	Done       int    `json:"done"`
	WallNs     int64  `json:"wall_ns"`
	CPUNs      int64  `json:"cpu_ns"`
	Nvcsw      int64  `json:"nvcsw"`
	P50Ns      int64  `json:"p50_ns"`
	P99Ns      int64  `json:"p99_ns"`
}

func main() {
	name := flag.String("kind", "fork", "beside, fork, echo or stream")
	lasts := flag.Duration("time", 200*time.Millisecond, "how long")
	processors := flag.Int("gomaxprocs", 2, "GOMAXPROCS")
	flag.Parse()
	run, known := kinds[*name]
	if !known || flag.NArg() > 0 || *lasts <= 0 || *processors < 1 {
		flag.Usage()
		os.Exit(2)
	}
	runtime.GOMAXPROCS(*processors)
	before, start := usage(), time.Now()
	latencies, err := run(start.Add(*lasts))
	wall, after := time.Since(start), usage()
	if err == nil && len(latencies) == 0 {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "parallel:", *name+":", err)
		os.Exit(1)
	}
	sort.Slice(latencies, func(i, j int) bool { return latencies[i] < latencies[j] })
	cpu := after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano()
	json.NewEncoder(os.Stdout).Encode(report{
		*name, runtime.GOMAXPROCS(0), len(latencies), wall.Nanoseconds(), cpu, after.Nvcsw - before.Nvcsw,
		latencies[(len(latencies)-1)/2], latencies[(len(latencies)-1)*99/100],
	})
}

func usage() syscall.Rusage {
	var found syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &found)
	return found
}

var sink [8]uint64

// compute is an amount of work, not of time: about a nanosecond each.
func compute(amount, where int) {
	state := uint64(where + 1)
	for i := 0; i < amount; i++ {
		state = state*6364136223846793005 + 1442695040888963407
	}
	sink[where] = state
}

// beside: the latency is the sleeper's, after its deadlines. Those that passed during another wait count too.
func beside(end time.Time) ([]int64, error) {
	var running sync.WaitGroup
	running.Add(1)
	go func() {
		defer running.Done()
		for time.Now().Before(end) {
			time.Sleep(time.Millisecond)
			compute(3_000_000, 0)
		}
	}()
	var late []int64
	for due := time.Now(); due.Before(end); {
		due = due.Add(230 * time.Microsecond)
		time.Sleep(time.Until(due))
		late = append(late, time.Since(due).Nanoseconds())
	}
	running.Wait()
	return late, nil
}

// fork: the latency is from the timer's goroutine to the end of both halves, without the wait before it.
func fork(end time.Time) ([]int64, error) {
	var took []int64
	for time.Now().Before(end) {
		time.Sleep(500 * time.Microsecond)
		start := time.Now()
		var half sync.WaitGroup
		half.Add(1)
		go func() {
			compute(100_000, 1)
			half.Done()
		}()
		compute(100_000, 2)
		half.Wait()
		took = append(took, time.Since(start).Nanoseconds())
	}
	return took, nil
}

func echo(end time.Time) ([]int64, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	defer listener.Close()
	go func() {
		server, err := listener.Accept()
		if err != nil {
			return
		}
		io.Copy(server, server)
		server.Close()
	}()
	client, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		return nil, err
	}
	defer client.Close()
	var took []int64
	for one := make([]byte, 1); time.Now().Before(end); {
		start := time.Now()
		if _, err := client.Write(one); err != nil {
			return nil, err
		}
		if _, err := io.ReadFull(client, one); err != nil {
			return nil, err
		}
		took = append(took, time.Since(start).Nanoseconds())
	}
	return took, nil
}

// stream: the latency is from the hand-over to the end of the work.
func stream(end time.Time) ([]int64, error) {
	const workers = 4
	work := make(chan time.Time, workers)
	took := make([][]int64, workers)
	var running sync.WaitGroup
	for worker := 0; worker < workers; worker++ {
		running.Add(1)
		go func(worker int) {
			defer running.Done()
			for handed := range work {
				compute(5_000, worker)
				took[worker] = append(took[worker], time.Since(handed).Nanoseconds())
			}
		}(worker)
	}
	for now := time.Now(); now.Before(end); now = time.Now() {
		work <- now
	}
	close(work)
	running.Wait()
	var all []int64
	for _, each := range took {
		all = append(all, each...)
	}
	return all, nil
}
