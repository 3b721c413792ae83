// Package agreement holds the inference against what real TCP stacks said about the same connections. It has only tests.
package agreement
