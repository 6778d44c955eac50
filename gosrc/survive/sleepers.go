package main

import (
	"sync"
	"sync/atomic"
	"time"
)

// A crew is the sleepers of one run and their tally.
type crew struct {
	sleeps, early, corrupted atomic.Int64
	stop                     atomic.Bool
	begun, ended             sync.WaitGroup
}

// sleep sleeps for d and notes whether the monotonic clock agrees that d has passed.
func (c *crew) sleep(d time.Duration) {
	start := time.Now()
	time.Sleep(d)
	if time.Since(start) < d {
		c.early.Add(1)
	}
	c.sleeps.Add(1)
}

// start runs n sleepers, each of which calls once(i) until the crew stops.
func (c *crew) start(n int, once func(sleeper int)) {
	c.begun.Add(n)
	c.ended.Add(n)
	for i := 0; i < n; i++ {
		i := i
		go func() {
			defer c.ended.Done()
			c.begun.Done()
			for !c.stop.Load() {
				once(i)
			}
		}()
	}
}

// finish lets the crew go on for d, then stops it and waits for all of them.
func (c *crew) finish(d time.Duration) {
	time.Sleep(d)
	c.stop.Store(true)
	c.ended.Wait()
}

func (c *crew) figures() map[string]any {
	return map[string]any{"sleeps": c.sleeps.Load(), "early": c.early.Load(), "corrupted": c.corrupted.Load()}
}

// sound tells whether there were sleeps and nothing was wrong with any.
func (c *crew) sound() bool {
	return c.sleeps.Load() > 0 && c.early.Load() == 0 && c.corrupted.Load() == 0
}
