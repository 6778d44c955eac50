// Command waits lives for a while in one of four states of rest: idle, a ticker of 1 ms, one far timer, or a
// connection that becomes ready ten times a second. How often it calls the kernel meanwhile is for others to count.
//
// Usage: waits STATE LENGTH. It writes "ready" when the state begins. Exit status: 0 done, 1 the machine refused what
// the state needs, 2 bad arguments.
package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"
)

var states = map[string]func(length time.Duration) error{
	"idle":   idle,
	"ticker": ticker,
	"timer":  timer,
	"socket": socket,
}

func main() {
	if len(os.Args) != 3 || states[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "waits: usage: waits idle|ticker|timer|socket LENGTH")
		os.Exit(2)
	}
	length, err := time.ParseDuration(os.Args[2])
	if err != nil || length <= 0 {
		fmt.Fprintf(os.Stderr, "waits: %q is not a length such as 10s\n", os.Args[2])
		os.Exit(2)
	}
	if err := states[os.Args[1]](length); err != nil {
		fmt.Fprintf(os.Stderr, "waits: %v\n", err)
		os.Exit(1)
	}
}

func ready() { os.Stdout.WriteString("ready\n") }

// idle waits for nothing but a signal, with no timer at all: LENGTH is for who sends it.
func idle(time.Duration) error {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	ready()
	<-stop
	return nil
}

func ticker(length time.Duration) error {
	ticks := time.NewTicker(time.Millisecond)
	defer ticks.Stop()
	ready()
	for end := time.Now().Add(length); time.Now().Before(end); {
		<-ticks.C
	}
	return nil
}

func timer(length time.Duration) error {
	ready()
	<-time.NewTimer(length).C
	return nil
}

// socket sends a byte over the loopback device every 100 ms and reads it back, with a deadline that is never met.
func socket(length time.Duration) error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer listener.Close()
	client, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		return err
	}
	defer client.Close()
	server, err := listener.Accept()
	if err != nil {
		return err
	}
	defer server.Close()
	go io.Copy(server, server)
	ready()
	one := make([]byte, 1)
	for end := time.Now().Add(length); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if err := client.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
			return err
		}
		if _, err := client.Write(one); err != nil {
			return err
		}
		if _, err := io.ReadFull(client, one); err != nil {
			return err
		}
	}
	return nil
}
