package main

import (
	"os"
	"runtime"
	"strconv"
	"sync/atomic"
	"syscall"
)

// startLoad starts what runs beside the sleepers and returns when all of it runs. The function it gives ends the
// process beside this one, if there is one.
func startLoad(o *options, w *window) func() {
	started := make(chan struct{})
	for i := 0; i < o.burn; i++ {
		go burn(&w.stop, started)
	}
	for i := 0; i < o.gc; i++ {
		go allocate(&w.stop, started)
	}
	for i := 0; i < o.burn+o.gc; i++ {
		<-started
	}
	if o.sibling == 0 {
		return func() {}
	}
	return startSibling(o.sibling)
}

// burn keeps one processor busy until stop is set. The runtime may preempt it, as it may any computing goroutine.
func burn(stop *atomic.Bool, started chan<- struct{}) {
	started <- struct{}{}
	for x := uint64(1); !stop.Load(); {
		for i := 0; i < 1<<12; i++ {
			x = x*6364136223846793005 + 1442695040888963407
		}
		burnt.Store(x)
	}
}

// burnt keeps the compiler from dropping the burners' work.
var burnt atomic.Uint64

// A node makes garbage that the collector must follow, pointer by pointer.
type node struct {
	next *node
	data [48]byte
}

// allocate makes lists and drops them: the collector runs all the time, and the goroutine has to help it.
func allocate(stop *atomic.Bool, started chan<- struct{}) {
	started <- struct{}{}
	const lists, length = 64, 4096 // some 16 MiB are alive
	var heads [lists]*node
	for i := 0; !stop.Load(); i++ {
		var head *node
		for k := 0; k < length; k++ {
			head = &node{next: head}
		}
		heads[i%lists] = head
	}
	kept.Store(heads[0])
}

// kept keeps the compiler from dropping the allocators' work.
var kept atomic.Value

// startSibling starts this program again as a process with n burners, in the same group of processes and control
// group, and returns when it burns. It is gone when this process is, however that ends.
func startSibling(n int) func() {
	var ready [2]int
	if err := syscall.Pipe2(ready[:], syscall.O_CLOEXEC); err != nil {
		fail("pipe2: %v", err)
	}
	forked := make(chan int)
	go func() {
		runtime.LockOSThread() // Pdeathsig comes when the thread that forked ends; this one never does
		pid, err := syscall.ForkExec("/proc/self/exe", []string{"sleepbench", "-only-burn", strconv.Itoa(n)}, &syscall.ProcAttr{
			Env:   os.Environ(),
			Files: []uintptr{0, uintptr(ready[1]), 2},
			Sys:   &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL},
		})
		if err != nil {
			fail("starting a process beside this one: %v", err)
		}
		forked <- pid
		select {}
	}()
	pid := <-forked
	syscall.Close(ready[1])
	var one [1]byte
	if got, err := syscall.Read(ready[0], one[:]); got != 1 || err != nil {
		fail("the process beside this one does not run: %v", err)
	}
	syscall.Close(ready[0])
	return func() {
		syscall.Kill(pid, syscall.SIGKILL)
		syscall.Wait4(pid, nil, 0, nil)
	}
}

// onlyBurn is the process beside: it says on its standard output that it runs, and burns until it is killed.
func onlyBurn(n int) {
	runtime.GOMAXPROCS(n)
	started := make(chan struct{})
	for i := 0; i < n; i++ {
		go burn(new(atomic.Bool), started)
	}
	for i := 0; i < n; i++ {
		<-started
	}
	syscall.Write(1, []byte{'.'})
	select {}
}
