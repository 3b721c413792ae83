package kernel

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Capture is a running tcpdump on a host's end of the link.
type Capture struct {
	Host *Host
	Path string

	cmd    *exec.Cmd
	stderr chan string // what tcpdump said after "listening on", when it has ended
}

// Capture starts capturing into a file. Packets that the host's Drop rules discard are captured first.
func (h *Host) Capture(path string) *Capture {
	c := &Capture{Host: h, Path: path, stderr: make(chan string, 1)}
	// Immediate mode and -U put a packet into the file as it passes, so that the file's size shows whether the link is
	// quiet. 32 MiB of buffer hold what a scenario sends while tcpdump waits for a processor.
	c.cmd = exec.Command("tcpdump", "-i", Device, "-n", "-p", "-s", "256", "-B", "32768", "-U", "--immediate-mode", "-Z", "root", "-w", path,
		"not ip6 multicast") // neighbour and listener discovery, at moments of the kernel's choice
	pipe, err := c.cmd.StderrPipe()
	check("tcpdump", err)
	h.Start(c.cmd)
	lines := bufio.NewReader(pipe)
	for {
		line, err := lines.ReadString('\n')
		if strings.Contains(line, "listening on") {
			break
		}
		check("tcpdump "+line, err)
	}
	go func() {
		rest, _ := io.ReadAll(lines)
		c.stderr <- string(rest)
	}()
	return c
}

// Size returns the size of the file so far.
func (c *Capture) Size() int64 {
	info, err := os.Stat(c.Path)
	check("capture", err)
	return info.Size()
}

var droppedByKernel = regexp.MustCompile(`(\d+) packets? dropped by kernel`)

// Stop ends the capture and fails if it missed packets.
func (c *Capture) Stop() {
	check("tcpdump", c.cmd.Process.Signal(unix.SIGINT))
	said := <-c.stderr
	check("tcpdump", c.cmd.Wait())
	if m := droppedByKernel.FindStringSubmatch(said); m == nil || m[1] != "0" {
		check("tcpdump", errors.New(strings.TrimSpace(said)))
	}
}

// cut removes the packets after the given time: they passed while tcpdump was being stopped.
func cut(path string, after time.Time) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	keep, err := lengthUntil(b, after)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if keep == len(b) {
		return nil
	}
	return os.Truncate(path, int64(keep))
}
