// Package deployment holds what deploy/ ships against the programs that will read it. It has only tests.
package deployment
