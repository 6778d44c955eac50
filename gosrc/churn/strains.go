package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"runtime/pprof"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// park has threads read from a pipe into which nobody writes: a system call takes its thread with it.
func park(threads int) {
	var ends [2]int
	if err := syscall.Pipe2(ends[:], syscall.O_CLOEXEC); err != nil {
		panic(err)
	}
	var begun sync.WaitGroup
	begun.Add(threads)
	for i := 0; i < threads; i++ {
		go func() {
			begun.Done()
			syscall.Read(ends[0], make([]byte, 1))
		}()
	}
	begun.Wait()
}

// collect forces one collection after the other.
func collect(t *tally, stop <-chan struct{}) error {
	var kept [][]byte
	for !stopped(stop) {
		kept = append(kept, make([]byte, 64<<10))
		if len(kept) > 64 {
			kept = kept[32:]
		}
		runtime.GC()
		t.GCs.Add(1)
	}
	return nil
}

type counting struct{ t *tally }

func (c counting) Write(p []byte) (int, error) {
	c.t.Samples.Add(int64(len(p)))
	return len(p), nil
}

// profile has SIGPROF sent a thousand times a second of CPU time. StartCPUProfile's own rate, 100, comes too late to
// be set and is said to be so on standard error, which is no matter here.
func profile(t *tally, stop <-chan struct{}) error {
	runtime.SetCPUProfileRate(1000)
	if err := pprof.StartCPUProfile(counting{t}); err != nil {
		return err
	}
	<-stop
	pprof.StopCPUProfile()
	return nil
}

// urgent sends SIGURG, by which the runtime asks a thread to be preempted, to every thread in turn.
func urgent(t *tally, stop <-chan struct{}) error {
	pid := os.Getpid()
	for !stopped(stop) {
		entries, err := os.ReadDir("/proc/self/task")
		if err != nil {
			return err
		}
		for _, entry := range entries {
			tid, _ := strconv.Atoi(entry.Name())
			syscall.RawSyscall(syscall.SYS_TGKILL, uintptr(pid), uintptr(tid), uintptr(syscall.SIGURG))
			t.Signals.Add(1)
		}
		time.Sleep(100 * time.Microsecond)
	}
	return nil
}

// serve answers requests of its own over the loopback interface; each must come back whole.
func serve(t *tally, stop <-chan struct{}) error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(200 * time.Microsecond)
		io.WriteString(w, r.URL.Path)
	})}
	go server.Serve(listener)
	defer server.Close()
	var clients sync.WaitGroup
	for i := 0; i < 4; i++ {
		clients.Add(1)
		go func(i int) {
			defer clients.Done()
			client := &http.Client{Timeout: 30 * time.Second}
			for n := 0; !stopped(stop); n++ {
				path := fmt.Sprintf("/%d/%d", i, n)
				response, err := client.Get("http://" + listener.Addr().String() + path)
				if err != nil {
					fmt.Fprintf(os.Stderr, "churn: %v\n", err)
					t.Failed.Add(1)
					continue
				}
				body, err := io.ReadAll(response.Body)
				response.Body.Close()
				if err != nil || string(body) != path {
					t.Failed.Add(1)
				}
				t.Requests.Add(1)
			}
		}(i)
	}
	clients.Wait()
	return nil
}

// execute runs programs, one after the other: each is a vfork and an exec.
func execute(t *tally, stop <-chan struct{}) error {
	for !stopped(stop) {
		if err := exec.Command("/bin/true").Run(); err != nil {
			return err
		}
		t.Execs.Add(1)
		time.Sleep(5 * time.Millisecond)
	}
	return nil
}

// threads ends a thread and has the runtime make another: a goroutine that ends locked takes its thread with it.
func threads(t *tally, stop <-chan struct{}) error {
	for !stopped(stop) {
		done := make(chan struct{})
		go func() {
			runtime.LockOSThread()
			time.Sleep(100 * time.Microsecond)
			close(done)
		}()
		<-done
		t.Threads.Add(1)
		time.Sleep(2 * time.Millisecond)
	}
	return nil
}
