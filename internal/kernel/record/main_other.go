//go:build !linux

// Command record makes the captures in testdata again; it needs Linux.
package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "record: network namespaces need Linux")
	os.Exit(1)
}
