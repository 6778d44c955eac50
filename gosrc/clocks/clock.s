#include "textflag.h"

// func callVDSO(entry uintptr, clock int64, into *timespec) int32
//
// The kernel's code runs in this function's own frame. 8,192 bytes, since a build of the kernel with stack probes was
// seen to take a whole page (runtime/sys_linux_amd64.s, golang/go issue 20427); and not NOSPLIT, so that the prologue
// makes sure of them. C keeps R12, and with R14 the runtime's g. Nothing unwinds from in there: no profile is taken, and
// outside of Go's own code a goroutine is not preempted.
TEXT ·callVDSO(SB), 0, $8192-28
	MOVQ	entry+0(FP), AX
	MOVQ	clock+8(FP), DI
	MOVQ	into+16(FP), SI
	MOVQ	SP, R12
	ADDQ	$8192, SP
	ANDQ	$~15, SP
	CALL	AX
	MOVQ	R12, SP
	MOVL	AX, ret+24(FP)
	RET
