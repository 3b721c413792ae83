package main

import (
	"errors"
	"fmt"
	"math"
	"runtime/debug"
	"strconv"
	"strings"

	"tcpleak/names"
)

const (
	// leastMemory is what --max-memory must allow: less than that, and there is hardly room for a table.
	leastMemory = 64 << 20
	// fixedMemory is what the program takes without any connection: itself, the batches, the window on the file.
	fixedMemory = 32 << 20
)

// boundMemory makes the program stay below size octets of memory, and returns how many of them the connections may take.
// Judging and reporting them takes about a quarter more, and the garbage collector needs room to let things lie.
func boundMemory(size int64) (table int) {
	debug.SetMemoryLimit(size - fixedMemory/2)
	return int((size - fixedMemory) * 5 / 8)
}

// boundNames returns how many names may be held of each kind, of three: they take a thirtieth of size at most.
func boundNames(size int64) int {
	const octets = 200 // of an entry, with a name of usual length
	return int(min(names.DefaultLimit, size/30/3/octets))
}

// parseSize reads a size in octets: a number with K, M, G or T, which may be followed by iB or B. All are binary.
func parseSize(s string) (int64, error) {
	number := strings.TrimRight(s, "KMGTiBkmgtb")
	unit := strings.ToUpper(strings.TrimSuffix(strings.TrimSuffix(strings.ToUpper(s[len(number):]), "B"), "I"))
	shift, known := map[string]int{"": 0, "K": 10, "M": 20, "G": 30, "T": 40}[unit]
	n, err := strconv.ParseFloat(number, 64)
	if err != nil || !known {
		return 0, errors.New("not a size; write it as 512MiB or 2GiB")
	}
	n *= float64(int64(1) << shift)
	if !(n >= leastMemory && n <= math.MaxInt64/4) {
		return 0, fmt.Errorf("must be at least %d MiB", leastMemory>>20)
	}
	return int64(n), nil
}
