#include "textflag.h"

// The low half of a register belongs to the first stream, the high half to the
// second one, so that one instruction does a round of both: round keys, counters
// and blocks lie side by side. Nothing branches on a key or a byte of the data, or
// takes one for an address.

// A block of AES has its counter with the highest byte first.
DATA swap<>+0(SB)/8, $0x08090a0b0c0d0e0f
DATA swap<>+8(SB)/8, $0x0001020304050607
GLOBL swap<>(SB), RODATA|NOPTR, $16

DATA one<>+0(SB)/8, $1
DATA one<>+8(SB)/8, $0
GLOBL one<>(SB), RODATA|NOPTR, $16

// The last word of a block, and the same rotated.
DATA last<>+0(SB)/4, $0x0f0e0d0c
GLOBL last<>(SB), RODATA|NOPTR, $4
DATA rotated<>+0(SB)/4, $0x0c0f0e0d
GLOBL rotated<>(SB), RODATA|NOPTR, $4

// KEY makes a round key of key, the one before the last, and Y2, the last one.
// VAESENCLAST is SubWord, as ShiftRows moves nothing where all words are the
// same, and adds the round's constant.
#define KEY(word, constant, key, at) \
	VPSHUFB     word, Y2, Y3;      \
	VAESENCLAST constant, Y3, Y3;  \
	VPSLLDQ     $4, key, Y4;       \
	VPXOR       Y4, key, key;      \
	VPSLLDQ     $8, key, Y4;       \
	VPXOR       Y4, key, key;      \
	VPXOR       Y3, key, key;      \
	VMOVDQA     key, Y2;           \
	VMOVDQU     key, at(AX)

#define KEYS(at) \
	KEY(Y5, Y8, Y0, at);      \
	VPADDD Y8, Y8, Y8;        \
	KEY(Y6, Y7, Y1, (at+32))

// func expand(to *schedule, keys *[2][keySize]byte)
TEXT ·expand(SB), NOSPLIT, $0-16
	MOVQ         to+0(FP), AX
	MOVQ         keys+8(FP), BX
	VPBROADCASTD rotated<>(SB), Y5
	VPBROADCASTD last<>(SB), Y6
	VPXOR        Y7, Y7, Y7
	VPBROADCASTD one<>(SB), Y8
	VMOVDQU      (BX), X0
	VINSERTI128  $1, 32(BX), Y0, Y0
	VMOVDQU      16(BX), X1
	VINSERTI128  $1, 48(BX), Y1, Y1
	VMOVDQU      Y0, (AX)
	VMOVDQU      Y1, 32(AX)
	VMOVDQA      Y1, Y2
	KEYS(64)
	KEYS(128)
	KEYS(192)
	KEYS(256)
	KEYS(320)
	KEYS(384)
	KEY(Y5, Y8, Y0, 448)
	VZEROUPPER
	RET

#define COUNT(block) \
	VPSHUFB Y10, Y9, block; \
	VPADDQ  Y11, Y9, Y9

#define ROUND(op, at) \
	VMOVDQU at(AX), Y8;  \
	op      Y8, Y0, Y0;  \
	op      Y8, Y1, Y1;  \
	op      Y8, Y2, Y2;  \
	op      Y8, Y3, Y3;  \
	op      Y8, Y4, Y4;  \
	op      Y8, Y5, Y5;  \
	op      Y8, Y6, Y6;  \
	op      Y8, Y7, Y7

// XOR takes two blocks of the data through two of each stream.
#define XOR(a, b, at) \
	VPERM2I128 $0x21, b, a, Y8;  \ // the second one's of a, the first one's of b
	VPBLENDD   $0xf0, b, a, a;   \ // the first one's of a, the second one's of b
	VPXOR      Y8, a, a;         \
	VPXOR      at(SI), a, a;     \
	VMOVDQU    a, at(DI)

// func xorGroups(dst, src *byte, n int, keys *schedule, next *[2][2]uint64)
TEXT ·xorGroups(SB), NOSPLIT, $0-40
	MOVQ           dst+0(FP), DI
	MOVQ           src+8(FP), SI
	MOVQ           n+16(FP), CX
	MOVQ           keys+24(FP), AX
	MOVQ           next+32(FP), BX
	VMOVDQU        (BX), Y9
	VBROADCASTI128 swap<>(SB), Y10
	VBROADCASTI128 one<>(SB), Y11

group:
	COUNT(Y0)
	COUNT(Y1)
	COUNT(Y2)
	COUNT(Y3)
	COUNT(Y4)
	COUNT(Y5)
	COUNT(Y6)
	COUNT(Y7)
	ROUND(VPXOR, 0)
	ROUND(VAESENC, 32)
	ROUND(VAESENC, 64)
	ROUND(VAESENC, 96)
	ROUND(VAESENC, 128)
	ROUND(VAESENC, 160)
	ROUND(VAESENC, 192)
	ROUND(VAESENC, 224)
	ROUND(VAESENC, 256)
	ROUND(VAESENC, 288)
	ROUND(VAESENC, 320)
	ROUND(VAESENC, 352)
	ROUND(VAESENC, 384)
	ROUND(VAESENC, 416)
	ROUND(VAESENCLAST, 448)
	XOR(Y0, Y1, 0)
	XOR(Y2, Y3, 32)
	XOR(Y4, Y5, 64)
	XOR(Y6, Y7, 96)
	ADDQ           $128, SI
	ADDQ           $128, DI
	DECQ           CX
	JNZ            group
	VZEROUPPER
	RET

// func leaf7() (ecx uint32)
TEXT ·leaf7(SB), NOSPLIT, $0-4
	MOVL $7, AX
	XORL CX, CX
	CPUID
	MOVL CX, ecx+0(FP)
	RET
