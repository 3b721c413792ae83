//go:build !linux

package sockets

import (
	"fmt"
	"net/netip"
	"runtime"
	"time"
)

type sampler struct{}

func newSampler(Config) (*sampler, error) {
	return nil, fmt.Errorf("the kernel can be asked about its sockets on Linux only, not on %s", runtime.GOOS)
}

func (*sampler) sample(time.Time) (*Snapshot, error)                { return new(Snapshot), nil }
func (*sampler) ask(local, remote netip.AddrPort) ([]Socket, error) { return nil, nil }
func (*sampler) holders(uint32) ([]Process, bool)                   { return nil, false }
func (*sampler) close() error                                       { return nil }
