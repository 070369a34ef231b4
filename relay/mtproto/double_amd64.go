package mtproto

import "golang.org/x/sys/cpu"

// vector says that the processor has AES on registers of 256 bits: most since 2020.
// x/sys knows VAES only beside AVX-512, and what it says of AVX2 includes that the
// system saves the registers. A variable, as a virtual machine traps CPUID, and for
// tests.
var vector = cpu.X86.HasAVX2 && cpu.X86.HasAES && leaf7()&(1<<9) != 0

// leaf7 returns ECX of CPUID, leaf 7.
func leaf7() (ecx uint32)

// expand makes the round keys of both keys (FIPS 197, Section 5.2).
//
//go:noescape
func expand(to *schedule, keys *[2][keySize]byte)

// xorGroups takes n groups of blocks from src to dst through both streams. No low
// half of a counter may run over.
//
//go:noescape
func xorGroups(dst, src *byte, n int, keys *schedule, next *[2][2]uint64)
