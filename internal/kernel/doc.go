// Package kernel holds tcpleak against the Linux kernel: it runs real sockets in two network namespaces joined by a veth
// pair, captures what passes between them, and keeps what ss said of each endpoint when the capture ended.
//
// Packets are dropped by nftables on the way into a host, behind the capture point, so that a capture contains what its
// receiver never got: the case that tells an inference from a guess.
//
// Reading the results ([ReadTruth], [ReadPackets], [ParseSS]) works on any system; making them ([NewPair], [Record]) needs
// Linux, root, and the commands tcpdump, nft, ss, ip and tc.
package kernel
