// Package netsim holds the inference against gVisor's TCP: two stacks in one process, on simulated time, joined by a wire
// with a capture in its middle. A seed decides what the applications do and what the wire loses, delays, doubles and
// reorders, before and behind the capture, so that a failure can be played again.
//
// Whenever nothing is in flight and no timer is due, both ends are asked for their state. A state that the tracker gets
// wrong is a failure, unless the wire cannot tell: another run that looks the same to the capture ends in the state that
// the tracker named. The harness knows what the capture does not see, and decides that by the rules in undecidable.go. A
// wrong state that is called confirmed is a failure even then, unless what happened left no trace at all.
package netsim
