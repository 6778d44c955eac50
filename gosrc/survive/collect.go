package main

import (
	"os"
	"runtime"
	"runtime/pprof"
	"sync/atomic"
	"syscall"
)

// profileHz is the rate of SIGPROF, ten times pprof's own.
const profileHz = 1000

// A node is what a sleeper holds on to through nothing but its stack.
type node struct {
	value, check uint64
	next         *node
}

const (
	heldNodes = 16
	salt      = 0x9e3779b97f4a7c15
)

// collect sleeps while the collector runs without pause. A stack that is scanned wrongly loses its nodes, and the
// churn writes over them.
func collect(o *options) (map[string]any, bool, error) {
	figures, ok := collectDuring(&crew{}, o)
	return figures, ok, nil
}

func collectDuring(c *crew, o *options) (map[string]any, bool) {
	var gcs atomic.Int64
	strain := startCollector(c, &gcs)
	c.start(o.sleepers, func(i int) { sleepHolding(c, o, uint64(i)) })
	c.finish(o.length)
	<-strain
	figures := c.figures()
	figures["gcs"] = gcs.Load()
	return figures, c.sound() && gcs.Load() > 0
}

// profile does the same with SIGPROF at 1 kHz. The profiler's timers count CPU time, so they seldom meet a thread that
// sleeps; each thread in turn is therefore sent SIGPROF as well, and the runtime takes it for a sample like any other
// (runtime/signal_unix.go, validSIGPROF).
func profile(o *options) (map[string]any, bool, error) {
	file, err := os.Create(o.profile)
	if err != nil {
		return nil, false, err
	}
	// The rate set first stays: StartCPUProfile cannot change it, and says so on stderr (runtime/cpuprof.go).
	runtime.SetCPUProfileRate(profileHz)
	if err := pprof.StartCPUProfile(file); err != nil {
		return nil, false, err
	}
	c := &crew{}
	result := make(chan sending, 1)
	go func() { result <- send(c, []syscall.Signal{syscall.SIGPROF}) }()
	figures, ok := collectDuring(c, o)
	sent := <-result
	pprof.StopCPUProfile()
	if sent.err != nil {
		return nil, false, sent.err
	}
	figures["sent"] = sent.count
	return figures, ok && sent.count > 0, file.Close()
}

// startCollector collects and churns until the crew stops; the channel is closed when it has ended.
func startCollector(c *crew, gcs *atomic.Int64) <-chan struct{} {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for !c.stop.Load() {
			runtime.GC()
			gcs.Add(1)
			churn()
		}
	}()
	return ended
}

// rubbish keeps the compiler from leaving the churn on the stack.
var rubbish atomic.Pointer[node]

// churn fills what the collector freed with nodes of other values.
func churn() {
	for i := uint64(0); i < 4096; i++ {
		rubbish.Store(&node{value: i, check: ^i})
	}
}

// sleepHolding sleeps with pointers in its frame that are the only ones to their nodes.
func sleepHolding(c *crew, o *options, seed uint64) {
	var held [heldNodes]*node
	for i := range held {
		value := seed<<16 | uint64(i)
		held[i] = &node{value, value ^ salt, &node{value + 1, (value + 1) ^ salt, nil}}
	}
	c.sleep(o.requested)
	for i, n := range held {
		value := seed<<16 | uint64(i)
		if n.value != value || n.check != value^salt || n.next.value != value+1 || n.next.check != (value+1)^salt {
			c.corrupted.Add(1)
		}
	}
}
