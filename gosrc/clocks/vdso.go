package main

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"unsafe"
)

const (
	atSysinfoEhdr = 33 // linux/include/uapi/linux/auxvec.h (vdso(7))
	vdsoSymbol    = "__vdso_clock_gettime"
	// What a 64-bit ELF header says of its section table, which is the last part of the image (elf(5)).
	shoffAt, shentsizeAt, shnumAt, headerSize = 40, 58, 60, 64
)

//go:noescape
func callVDSO(entry uintptr, clock int64, into *timespec) int32

// findVDSO gives the address of the function that libc calls for clock_gettime: that of the image which the kernel
// has mapped into this process.
func findVDSO() (uintptr, error) {
	base, err := auxiliary(atSysinfoEhdr)
	if err != nil {
		return 0, err
	}
	header := memory(base, headerSize)
	size := binary.LittleEndian.Uint64(header[shoffAt:])
	size += uint64(binary.LittleEndian.Uint16(header[shentsizeAt:])) * uint64(binary.LittleEndian.Uint16(header[shnumAt:]))
	image, err := elf.NewFile(bytes.NewReader(memory(base, int(size))))
	if err != nil {
		return 0, fmt.Errorf("the kernel's vDSO: %w", err)
	}
	symbols, err := image.DynamicSymbols()
	if err != nil {
		return 0, fmt.Errorf("the kernel's vDSO: %w", err)
	}
	for _, symbol := range symbols {
		if symbol.Name == vdsoSymbol {
			return base + uintptr(symbol.Value), nil
		}
	}
	return 0, errors.New("the kernel's vDSO has no " + vdsoSymbol)
}

// auxiliary is a value of the auxiliary vector (getauxval(3)).
func auxiliary(wanted uint64) (uintptr, error) {
	vector, err := os.ReadFile("/proc/self/auxv")
	if err != nil {
		return 0, err
	}
	for ; len(vector) >= 16; vector = vector[16:] {
		if binary.LittleEndian.Uint64(vector) == wanted {
			return uintptr(binary.LittleEndian.Uint64(vector[8:])), nil
		}
	}
	return 0, errors.New("the kernel maps no vDSO")
}

// memory is this process's own, from an address on that Go's heap does not know.
func memory(from uintptr, size int) []byte {
	return unsafe.Slice(*(**byte)(unsafe.Pointer(&from)), size)
}
