package main

import (
	"math/rand"
	"sync/atomic"
	"time"
	"unsafe"
)

// frameWords is the size of a deep frame, and deepest × frameWords × 8 bytes that of a deep stack: some hundred
// KiB, so that stacks double several times from their first 2 to 8 KiB.
const (
	frameWords = 96
	deepest    = 256
)

// A grower is one way down a stack and up again, with sleeps on the way.
type grower struct {
	crew        *crew
	requested   time.Duration
	random      *rand.Rand
	moved       *atomic.Int64 // the stack was elsewhere after the way down, or after a sleep
	movedAsleep *atomic.Int64
}

// grow sleeps at all depths of stacks that grow, and that the collector shrinks again. A new goroutine each time
// starts with a small stack, so that in some runs it is time.Sleep's own prologue that finds no room.
func grow(o *options) (map[string]any, bool, error) {
	c := &crew{}
	var gcs, moved, movedAsleep atomic.Int64
	strain := startCollector(c, &gcs)
	c.start(o.sleepers, func(i int) {
		down := make(chan struct{})
		go func() {
			defer close(down)
			random := rand.New(rand.NewSource(c.sleeps.Load()<<16 + int64(i)))
			g := &grower{c, o.requested, random, &moved, &movedAsleep}
			g.small(random.Intn(64))
			g.deep(random.Intn(deepest), uint64(i))
		}()
		<-down
	})
	c.finish(o.length)
	<-strain
	figures := c.figures()
	figures["gcs"], figures["moved"], figures["moved_asleep"] = gcs.Load(), moved.Load(), movedAsleep.Load()
	return figures, c.sound() && moved.Load() > 0 && gcs.Load() > 0, nil
}

// small goes down in steps smaller than the frame of time.Sleep, and sleeps at the end.
//
//go:noinline
func (g *grower) small(depth int) {
	if depth == 0 {
		g.sleep()
		return
	}
	g.small(depth - 1)
}

// deep goes down in large steps, sleeps in one of eight, and checks its frame on the way up.
//
//go:noinline
func (g *grower) deep(depth int, seed uint64) {
	var frame [frameWords]uint64
	own := &frame // adjusted by the runtime whenever it moves the stack
	for i := range frame {
		frame[i] = (seed + uint64(depth)) * salt >> (i % 32)
	}
	before := uintptr(unsafe.Pointer(own))
	if depth == 0 || g.random.Intn(8) == 0 {
		g.sleep()
	}
	if depth > 0 {
		g.deep(depth-1, seed)
	}
	if uintptr(unsafe.Pointer(own)) != before {
		g.moved.Add(1)
	}
	for i := range frame {
		if own[i] != (seed+uint64(depth))*salt>>(i%32) {
			g.crew.corrupted.Add(1)
			return
		}
	}
}

// sleep tells whether the stack moved meanwhile.
func (g *grower) sleep() {
	var mark byte
	own := &mark
	before := uintptr(unsafe.Pointer(own))
	g.crew.sleep(g.requested)
	if uintptr(unsafe.Pointer(own)) != before {
		g.movedAsleep.Add(1)
	}
}
