// Command refuse runs a program with one system call refused, as a container's filter does.
//
// refuse CALL ERRNO PROGRAM [ARGUMENT …]. CALL is a number (441), or a number and the first argument that is refused
// (167/29). The filter is a classic BPF program over struct seccomp_data (linux/include/uapi/linux/seccomp.h).
package main

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"unsafe"
)

// Numbers of linux/include/uapi/linux/prctl.h, seccomp.h, filter.h and audit.h.
const (
	prSetSeccomp       = 22
	prSetNoNewPrivs    = 38
	seccompModeFilter  = 2
	seccompReturnErrno = 0x0005_0000
	seccompReturnAllow = 0x7fff_0000
	numberAt           = 0
	architectureAt     = 4
	argumentAt         = 16
)

var architectures = map[string]uint32{"amd64": 0xc000003e, "arm64": 0xc00000b7}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "refuse: %v\n", err)
		os.Exit(2)
	}
}

func run(arguments []string) error {
	if len(arguments) < 3 {
		return fmt.Errorf("usage: refuse CALL[/ARGUMENT] ERRNO PROGRAM [ARGUMENT …]")
	}
	tests := []test{{architectureAt, architectures[runtime.GOARCH]}}
	for i, text := range strings.SplitN(arguments[0], "/", 2) {
		value, err := strconv.ParseUint(text, 10, 32)
		if err != nil {
			return err
		}
		tests = append(tests, test{[]uint32{numberAt, argumentAt}[i], uint32(value)})
	}
	errno, err := strconv.ParseUint(arguments[1], 10, 16)
	if err != nil {
		return err
	}
	// A filter is a thread's, and the program takes the place of the thread that starts it.
	runtime.LockOSThread()
	if err := confine(tests, uint32(errno)); err != nil {
		return err
	}
	return syscall.Exec(arguments[2], arguments[2:], os.Environ())
}

// A test is that the word at a place in seccomp_data has a value.
type test struct{ at, value uint32 }

// confine answers with errno where all tests hold.
func confine(tests []test, errno uint32) error {
	var code []syscall.SockFilter
	for i, each := range tests {
		allowed := uint8(2*(len(tests)-1-i) + 1)
		code = append(code,
			syscall.SockFilter{Code: syscall.BPF_LD | syscall.BPF_W | syscall.BPF_ABS, K: each.at},
			syscall.SockFilter{Code: syscall.BPF_JMP | syscall.BPF_JEQ | syscall.BPF_K, Jf: allowed, K: each.value})
	}
	code = append(code,
		syscall.SockFilter{Code: syscall.BPF_RET | syscall.BPF_K, K: seccompReturnErrno | errno},
		syscall.SockFilter{Code: syscall.BPF_RET | syscall.BPF_K, K: seccompReturnAllow})
	program := syscall.SockFprog{Len: uint16(len(code)), Filter: &code[0]}
	if _, _, e := syscall.RawSyscall6(syscall.SYS_PRCTL, prSetNoNewPrivs, 1, 0, 0, 0, 0); e != 0 {
		return fmt.Errorf("prctl(PR_SET_NO_NEW_PRIVS): %w", e)
	}
	_, _, e := syscall.RawSyscall6(syscall.SYS_PRCTL, prSetSeccomp, seccompModeFilter, uintptr(unsafe.Pointer(&program)), 0, 0, 0)
	if e != 0 {
		return fmt.Errorf("prctl(PR_SET_SECCOMP): %w", e)
	}
	return nil
}
