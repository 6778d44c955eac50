// Command slackexec runs a program with a lower timer slack, and needs no change of the program.
//
// The timer slack is how late the kernel may end a wait to save wake-ups, 50 µs by default. It belongs to a thread;
// execve(2) keeps it and new threads inherit it (prctl(2), PR_SET_TIMERSLACK), so the program that takes this one's
// place has it in every thread. systemd's TimerSlackNSec= does the same for a service.
//
// Exit status, as env(1) has it: that of the program; 125 slackexec itself failed, 126 the program cannot be run,
// 127 it is not there; 2 bad arguments.
package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
)

const (
	statusUsage     = 2
	statusFailed    = 125
	statusCannotRun = 126
	statusNotFound  = 127

	prSetTimerSlack = 29 // linux/include/uapi/linux/prctl.h
)

const usage = `usage: slackexec NS PROGRAM [ARGUMENT ...]
Run PROGRAM with a timer slack of NS nanoseconds (at least 1; the kernel's default is 50000).
`

// The program that takes this one's place goes on in the thread that calls execve(2), with that thread's slack.
func init() { runtime.LockOSThread() }

func main() {
	arguments := os.Args[1:]
	if len(arguments) == 1 && (arguments[0] == "-h" || arguments[0] == "--help") {
		fmt.Print(usage)
		return
	}
	if len(arguments) < 2 {
		end(statusUsage, "NS and PROGRAM are needed, as in: slackexec 1 ./server")
	}
	// Zero would not be no slack: it sets the slack back to the thread's default.
	slack, err := strconv.ParseUint(arguments[0], 10, 63)
	if err != nil || slack == 0 {
		end(statusUsage, "%q is not a number of nanoseconds, at least 1", arguments[0])
	}
	if _, _, errno := syscall.RawSyscall(syscall.SYS_PRCTL, prSetTimerSlack, uintptr(slack), 0); errno != 0 {
		end(statusFailed, "prctl(PR_SET_TIMERSLACK, %d): %v", slack, errno)
	}
	err = execute(arguments[1:])
	status := statusCannotRun
	if errors.Is(err, syscall.ENOENT) {
		status = statusNotFound
	}
	end(status, "%s: %v", arguments[1], err)
}

// execute returns only when it failed. As in execvp(3), a name without a slash is looked for along PATH, and what may
// not be run there is passed over, but told if nothing better follows.
func execute(command []string) error {
	if strings.Contains(command[0], "/") {
		return syscall.Exec(command[0], command, os.Environ())
	}
	if command[0] == "" {
		return syscall.ENOENT
	}
	path, set := os.LookupEnv("PATH")
	if !set {
		path = "/bin:/usr/bin"
	}
	var told error = syscall.ENOENT
	for _, folder := range strings.Split(path, ":") {
		if folder == "" {
			folder = "."
		}
		switch err := syscall.Exec(folder+"/"+command[0], command, os.Environ()); {
		case errors.Is(err, syscall.EACCES):
			told = err
		case !errors.Is(err, syscall.ENOENT) && !errors.Is(err, syscall.ENOTDIR):
			return err
		}
	}
	return told
}

func end(status int, format string, values ...any) {
	fmt.Fprintf(os.Stderr, "slackexec: "+format+"\n", values...)
	os.Exit(status)
}
