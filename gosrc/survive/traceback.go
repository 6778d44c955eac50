package main

import (
	"fmt"
	"runtime/debug"
	"time"
)

// panicAsleep panics in one goroutine while all others sleep; the runtime then unwinds every one of them.
func panicAsleep(o *options) (map[string]any, bool, error) {
	debug.SetTraceback("all")
	c := startSleeping(o)
	report(o, c.figures())
	go func() { panic("survive: a panic while others sleep") }()
	c.finish(time.Minute)
	return nil, false, fmt.Errorf("the panic did not end the program")
}

// wait says "ready" when all sleep, for a signal such as SIGQUIT to meet them there.
func wait(o *options) (map[string]any, bool, error) {
	debug.SetTraceback("all")
	c := startSleeping(o)
	fmt.Println("ready")
	c.finish(o.length)
	return c.figures(), c.sound(), nil
}

// settle is for goroutines that have begun to come to their first sleep, one statement later.
const settle = 200 * time.Millisecond

// startSleeping gives a crew of which each has begun to sleep.
func startSleeping(o *options) *crew {
	c := &crew{}
	c.start(o.sleepers, func(int) { c.sleep(o.requested) })
	c.begun.Wait()
	time.Sleep(settle)
	return c
}
