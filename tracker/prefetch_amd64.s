#include "textflag.h"

// func prefetch(at *unsafe.Pointer, n int)
TEXT ·prefetch(SB), NOSPLIT, $0-16
	MOVQ at+0(FP), AX
	MOVQ n+8(FP), CX
	JMP  test
next:
	MOVQ (AX), DX
	PREFETCHT0 (DX)
	ADDQ $8, AX
	DECQ CX
test:
	TESTQ CX, CX
	JNE  next
	RET

// func prefetchRecords(at *unsafe.Pointer, n int)
TEXT ·prefetchRecords(SB), NOSPLIT, $0-16
	MOVQ at+0(FP), AX
	MOVQ n+8(FP), CX
	JMP  test
next:
	MOVQ (AX), DX
	PREFETCHT0 (DX)
	PREFETCHT0 64(DX)
	PREFETCHT0 128(DX)
	PREFETCHT0 192(DX)
	ADDQ $8, AX
	DECQ CX
test:
	TESTQ CX, CX
	JNE  next
	RET
