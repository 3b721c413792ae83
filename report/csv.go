package report

import (
	"bytes"
	"encoding/csv"
	"io"
	"strconv"
	"strings"
	"time"

	"tcpleak/tcp"
	"tcpleak/tracker"
)

var endColumns = []string{
	"address", "port", "state", "certainty", "since", "since_at_least", "why", "packets", "payload_bytes", "retransmitted",
	"out_of_order", "missed_bytes", "zero_windows",
}

// CSV writes the connections of r, one row each below a header line. The columns are the fields of the JSON lines; what is
// unknown is empty, and lists are separated by spaces.
func CSV(w io.Writer, r Report) error {
	out := csv.NewWriter(w)
	header := []string{
		"id", "community_id", "opened", "visibility", "roles_guessed", "start", "last", "handshake_rtt", "closed_first",
		"ended_by", "vlan", "tunnels",
	}
	for role := range 2 {
		for _, column := range endColumns {
			header = append(header, tracker.Role(role).String()+"_"+column)
		}
	}
	header = append(header, "zeek_conn_state", "zeek_history", "wireshark_completeness", "findings", "server_name")
	if err := out.Write(header); err != nil {
		return err
	}
	if out.Flush(); out.Error() != nil {
		return out.Error()
	}
	return writeRows(w, &r, func(b []byte, r *Report, rows Rows) []byte {
		lines := bytes.NewBuffer(b)
		out := csv.NewWriter(lines)
		record := make([]string, 0, len(header))
		for c, findings := range rows {
			// Neither can fail: the delimiter is the usual one, and a Buffer takes every write.
			_ = out.Write(appendRecord(record, r, c, findings))
		}
		out.Flush()
		return lines.Bytes()
	})
}

func appendRecord(record []string, r *Report, c *tracker.Connection, findings []int) []string {
	client, server := &c.Ends[tracker.Client], &c.Ends[tracker.Server]
	vlans, tunnels := encapsulationText(r.encapsulation(c.Encap))
	rtt := ""
	if c.HandshakeRTT != 0 {
		rtt = string(appendSeconds(nil, time.Duration(c.HandshakeRTT)))
	}
	record = append(record,
		decimal(c.ID), CommunityID(client.Addr, client.Port, server.Addr, server.Port), c.Opened.String(),
		c.Visibility.String(), strconv.FormatBool(c.RolesGuessed), timeText(c.Start), timeText(c.Last), rtt,
		c.ClosedFirst.String(), c.EndedBy.String(), vlans, tunnels)
	for role := range c.Ends {
		e := &c.Ends[role]
		record = append(record,
			e.Addr.String(), decimal(uint64(e.Port)), e.State.String(), e.Certainty.String(), timeText(e.Since),
			strconv.FormatBool(e.SinceAtLeast), Clean(e.Why()), decimal(e.Packets), decimal(e.PayloadBytes),
			decimal(e.Retransmitted), decimal(e.OutOfOrder), decimal(e.MissedBytes), decimal(e.ZeroWindows))
	}
	ids := make([]string, len(findings))
	for i, id := range findings {
		ids[i] = strconv.Itoa(id)
	}
	return append(record, c.ZeekState, c.ZeekHistory.String(), decimal(uint64(c.WiresharkCompleteness)), strings.Join(ids, " "), Clean(r.ServerName(c)))
}

func encapsulationText(e tcp.Encapsulation) (vlans, tunnels string) {
	var ids, names []string
	for _, id := range e.VLAN[:e.VLANs] {
		ids = append(ids, decimal(uint64(id)))
	}
	for _, tunnel := range e.Tunnel[:e.Tunnels] {
		names = append(names, tunnel.Type.String()+":"+decimal(uint64(tunnel.ID)))
	}
	return strings.Join(ids, " "), strings.Join(names, " ")
}

func decimal(n uint64) string { return strconv.FormatUint(n, 10) }

func timeText(ns int64) string {
	if ns == 0 {
		return ""
	}
	return string(appendTime(nil, ns))
}
