package main

import (
	"fmt"
	"runtime/debug"

	"tcpleak/config"
	"tcpleak/names"
)

// fixedMemory is what the program takes without any connection: itself, the batches, the window on the file.
const fixedMemory = 32 << 20

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

// parseMemory reads how much memory the program may take, in octets.
func parseMemory(text string) (int64, error) {
	size, err := config.ParseSize(text)
	if err == nil && size < config.LeastMemory {
		err = fmt.Errorf("must be at least %v", config.Size(config.LeastMemory))
	}
	return int64(size), err
}
