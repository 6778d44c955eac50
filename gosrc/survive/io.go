package main

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"time"
)

// lostAfter is how late a wake-up may come before it counts as lost: far beyond what any machine's load explains,
// so that only a wait that nothing ended can reach it.
const lostAfter = 20 * time.Second

// inputOutput mixes sleeps with reads that a late write ends, on a TCP connection and on a pipe. The scheduler waits
// for both in one epoll call: an event must end a wait for a timer, and a timer a wait for an event.
func inputOutput(o *options) (map[string]any, bool, error) {
	c := &crew{}
	client, server, err := connection()
	if err != nil {
		return nil, false, err
	}
	pipeOut, pipeIn, err := os.Pipe()
	if err != nil {
		return nil, false, err
	}
	c.start(o.sleepers, func(int) { c.sleep(o.requested) })
	c.start(1, func(int) { c.sleep(500 * time.Millisecond) }) // a far timer, for events to cut short
	results := make(chan exchange, 2)
	go func() { results <- exchangeLate(c, server, client, o.requested) }()
	go func() { results <- exchangeLate(c, pipeIn, pipeOut, o.requested) }()
	c.finish(o.length)
	var total exchange
	for i := 0; i < cap(results); i++ {
		one := <-results
		if one.err != nil {
			return nil, false, one.err
		}
		total.messages, total.deadlines = total.messages+one.messages, total.deadlines+one.deadlines
		total.wrong = total.wrong + one.wrong
	}
	figures := c.figures()
	figures["messages"], figures["deadlines"], figures["wrong"] = total.messages, total.deadlines, total.wrong
	return figures, c.sound() && total.messages > 0 && total.deadlines > 0 && total.wrong == 0, nil
}

// connection is the two ends of a TCP connection over the loopback device.
func connection() (client, server net.Conn, err error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	defer listener.Close()
	if client, err = net.Dial("tcp", listener.Addr().String()); err != nil {
		return nil, nil, err
	}
	server, err = listener.Accept()
	return client, server, err
}

type exchange struct {
	messages, deadlines, wrong int64
	err                        error
}

type deadlineReader interface {
	io.Reader
	SetReadDeadline(t time.Time) error
}

// exchangeLate writes messages, each some time after the reader began to wait, and reads them; between two messages
// the reader waits for one that does not come, until its deadline.
func exchangeLate(c *crew, in io.Writer, out deadlineReader, late time.Duration) (e exchange) {
	var message, got [8]byte
	for !c.stop.Load() {
		deadline := time.Now().Add(late)
		if e.err = out.SetReadDeadline(deadline); e.err != nil {
			return e
		}
		_, err := out.Read(got[:])
		if !errors.Is(err, os.ErrDeadlineExceeded) || time.Now().Before(deadline) {
			e.wrong++
		}
		e.deadlines++

		binary.LittleEndian.PutUint64(message[:], uint64(e.messages)*salt)
		if e.err = out.SetReadDeadline(time.Now().Add(lostAfter)); e.err != nil {
			return e
		}
		written := make(chan error, 1)
		go func() { written <- writeLate(in, message[:], late) }()
		if _, e.err = io.ReadFull(out, got[:]); e.err != nil {
			return e
		}
		if e.err = <-written; e.err != nil {
			return e
		}
		if got != message {
			e.wrong++
		}
		e.messages++
	}
	return e
}

// writeLate waits in the kernel, not in the scheduler: the write then meets a scheduler that waits in epoll.
func writeLate(in io.Writer, message []byte, late time.Duration) error {
	request := syscall.NsecToTimespec(int64(late))
	if err := syscall.Nanosleep(&request, nil); err != nil && err != syscall.EINTR {
		return err
	}
	_, err := in.Write(message)
	return err
}
