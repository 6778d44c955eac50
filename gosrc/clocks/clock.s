#include "textflag.h"

// How much stack the kernel's code gets: the runtime gives it that of g0, since a build of the kernel with stack
// probes was seen to take a whole page (runtime/sys_linux_amd64.s, golang/go issue 20427).
#define ROOM 8192

// func callVDSO(entry uintptr, clock int64, into *timespec) int32
//
// Not NOSPLIT: the prologue makes sure of this frame, which is the room of the function called. C keeps R12, and with
// R14 the runtime's g. Nothing unwinds from in there: no profile is taken, and outside of Go's own code a goroutine is
// not preempted.
TEXT ·callVDSO(SB), 0, $ROOM-28
	MOVQ	entry+0(FP), AX
	MOVQ	clock+8(FP), DI
	MOVQ	into+16(FP), SI
	MOVQ	SP, R12
	ADDQ	$ROOM, SP
	ANDQ	$~15, SP
	CALL	AX
	MOVQ	R12, SP
	MOVL	AX, ret+24(FP)
	RET
