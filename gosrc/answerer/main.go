// Command answerer answers each line of a connection after a sleep: a service whose callers see its timers.
//
// Usage: answerer ADDRESS SLEEP, as in localhost:7000 100us. It writes "listening" when it does. The line "die" ends it
// with status 3; a line that begins with GET is answered as in HTTP/1.0. Exit status: 1 it cannot listen, 2 bad
// arguments.
package main

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"strings"
	"time"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "answerer: usage: answerer ADDRESS SLEEP")
		os.Exit(2)
	}
	sleep, err := time.ParseDuration(os.Args[2])
	if err != nil {
		fmt.Fprintf(os.Stderr, "answerer: %v\n", err)
		os.Exit(2)
	}
	listener, err := net.Listen("tcp", os.Args[1])
	if err != nil {
		fmt.Fprintf(os.Stderr, "answerer: %v\n", err)
		os.Exit(1)
	}
	fmt.Println("listening")
	for {
		if caller, err := listener.Accept(); err == nil {
			go answer(caller, sleep)
		}
	}
}

func answer(caller net.Conn, sleep time.Duration) {
	defer caller.Close()
	lines := bufio.NewScanner(caller)
	for lines.Scan() {
		switch {
		case lines.Text() == "die":
			fmt.Fprintln(os.Stderr, "answerer: told to die")
			os.Exit(3)
		case strings.HasPrefix(lines.Text(), "GET "):
			fmt.Fprint(caller, "HTTP/1.0 200 OK\r\n\r\n")
			return
		}
		time.Sleep(sleep)
		if _, err := fmt.Fprintln(caller, "answer"); err != nil {
			return
		}
	}
}
