package capture

import (
	"errors"
	"fmt"
	"os"
	"sync"

	"github.com/google/gopacket/pcap"
)

// Refilterer is a Source whose filter may change while it goes on: a live one.
type Refilterer interface {
	// Refilter lets pass what expression says from now on; "" lets everything pass. It changes all interfaces or, where it
	// returns an error, none. Each goes from one filter to the other at once: on Linux no packet that both let pass is
	// lost, but where nothing has come yet, or the kernel cannot apply the old filter and libpcap does. Those that the kernel
	// holds already still come, and Stats tells the new filter.
	//
	// It may be called from any goroutine, also that which reads, and takes up to Config.Timeout.
	Refilter(expression string) error
}

// Refilter implements Refilterer.
func (s *liveSource) Refilter(expression string) error {
	if err := CheckFilter(expression); err != nil {
		return err
	}
	s.refiltering.Lock()
	defer s.refiltering.Unlock()
	// All are compiled before the first is changed: what suits one kind of link may not suit another.
	compiled := make([][]pcap.BPFInstruction, len(s.listeners))
	err := s.onEach(func(l *listener) (err error) {
		if compiled[l.index], err = l.handle.CompileBPFFilter(expression); err != nil {
			err = fmt.Errorf("%s: filter %q: %w on link type %v: man pcap-filter describes the language", l.name, expression, err, l.link)
		}
		return err
	})
	if err != nil {
		return err
	}
	old := s.Stats().Filter
	if err := s.onEach(func(l *listener) error { return l.pass(expression, compiled[l.index]) }); err != nil {
		return errors.Join(err, s.onEach(func(l *listener) error {
			program, err := l.handle.CompileBPFFilter(old)
			if err != nil {
				return err
			}
			return l.pass(old, program)
		}))
	}
	s.mu.Lock()
	s.stats.Filter = expression
	s.mu.Unlock()
	return nil
}

// pass sets the filter of an interface.
func (l *listener) pass(expression string, program []pcap.BPFInstruction) error {
	// libpcap lets nothing pass for a moment, so that nothing that the old filter let pass comes under the new one, and tells
	// nobody what is lost in it. But until a first packet has come, it filters as well as the kernel, and has to be told.
	if l.socket.known() && l.newest != 0 {
		if err := l.socket.attach(program, l.link); err != nil {
			return fmt.Errorf("%s: filter %q: %w", l.name, expression, err)
		}
		return nil
	}
	if err := l.handle.SetBPFFilter(expression); err != nil {
		return fmt.Errorf("%s: filter %q: %w", l.name, expression, err)
	}
	l.socket = l.socket.filtering(l.handle, l.link, expression)
	return nil
}

// filtering returns the socket if the kernel filters there, and the zero socket if libpcap does: it would go on to, by the old
// filter.
func (s packetSocket) filtering(handle *pcap.Handle, link linkType, expression string) (none packetSocket) {
	if !s.known() {
		return none
	}
	if program, err := handle.CompileBPFFilter(expression); err != nil || s.attach(program, link) != nil {
		return none
	}
	return s
}

// onEach runs f on the goroutine of each listener, between two reads, and joins their errors. A listener that has ended is
// left out: Read says why it has.
func (s *liveSource) onEach(f func(*listener) error) error {
	errs := make([]error, len(s.listeners))
	var all sync.WaitGroup
	for i, l := range s.listeners {
		all.Go(func() {
			done := make(chan error, 1)
			select {
			case l.asks <- func() { done <- f(l) }:
				errs[i] = <-done
			case <-l.ended:
			}
		})
	}
	all.Wait()
	select {
	case <-s.done:
		return os.ErrClosed
	default:
		return errors.Join(errs...)
	}
}
