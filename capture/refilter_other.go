//go:build !linux

package capture

import (
	"errors"

	"github.com/google/gopacket/pcap"
)

// packetSocket is the socket of a handle, for Linux.
type packetSocket struct{}

func (packetSocket) known() bool { return false }

func (packetSocket) attach([]pcap.BPFInstruction, linkType) error {
	return errors.ErrUnsupported
}

func withSocket(open func() error) (packetSocket, error) { return packetSocket{}, open() }
