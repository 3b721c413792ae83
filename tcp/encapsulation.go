package tcp

import "sync"

// TunnelType names a tunnel whose id tells one tenant's addresses from another's.
type TunnelType uint8

// Tunnels with an id. MPLS labels and plain IP-in-IP are not among them: a label differs by direction, and IP-in-IP has no
// id, so neither may split a connection.
const (
	VXLAN TunnelType = iota + 1
	Geneve
	GRE
	ERSPAN
	PPPoE
)

var tunnelNames = [...]string{"", "vxlan", "geneve", "gre", "erspan", "pppoe"}

// String returns the name in lower case, as the JSON output spells it.
func (t TunnelType) String() string {
	if int(t) < len(tunnelNames) {
		return tunnelNames[t]
	}
	return ""
}

// Tunnel is one layer of encapsulation and its id: a VXLAN or Geneve VNI, a GRE key, an ERSPAN or PPPoE session.
type Tunnel struct {
	Type TunnelType
	ID   uint32
}

// MaxEncapDepth is how many VLAN tags, and how many tunnels, an Encapsulation holds. Packets nested deeper are refused.
const MaxEncapDepth = 4

// Encapsulation is what surrounds a connection's packets and is part of its identity: outermost first.
type Encapsulation struct {
	VLAN    [MaxEncapDepth]uint16 // 802.1Q ids, 0 to 4095
	Tunnel  [MaxEncapDepth]Tunnel
	VLANs   uint8
	Tunnels uint8
}

// AddVLAN appends a VLAN id and reports whether there was room.
func (e *Encapsulation) AddVLAN(id uint16) bool {
	if int(e.VLANs) == len(e.VLAN) {
		return false
	}
	e.VLAN[e.VLANs] = id
	e.VLANs++
	return true
}

// AddTunnel appends a tunnel and reports whether there was room.
func (e *Encapsulation) AddTunnel(t TunnelType, id uint32) bool {
	if int(e.Tunnels) == len(e.Tunnel) {
		return false
	}
	e.Tunnel[e.Tunnels] = Tunnel{t, id}
	e.Tunnels++
	return true
}

// MaxEncapsulations bounds an EncapTable; ids have 18 bits. Forged VLAN and tunnel ids are free for a sender; a network has thousands.
const MaxEncapsulations = 1<<18 - 1

// EncapTable gives each Encapsulation a small id, so that a Segment carries one word. It is safe for concurrent use.
// The zero value is ready; id 0 is the empty encapsulation.
type EncapTable struct {
	mu  sync.RWMutex
	ids map[Encapsulation]uint32
	all []Encapsulation
}

// ID returns e's id, the same for equal encapsulations; false when the table is full and e is new.
func (t *EncapTable) ID(e *Encapsulation) (uint32, bool) {
	if e.VLANs == 0 && e.Tunnels == 0 {
		return 0, true
	}
	t.mu.RLock()
	id, ok := t.ids[*e]
	t.mu.RUnlock()
	if ok {
		return id, true
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if id, ok := t.ids[*e]; ok {
		return id, true
	}
	if len(t.all) == MaxEncapsulations {
		return 0, false
	}
	if t.ids == nil {
		t.ids = make(map[Encapsulation]uint32)
	}
	t.all = append(t.all, *e)
	id = uint32(len(t.all))
	t.ids[*e] = id
	return id, true
}

// Get returns the encapsulation with the given id; the empty one for 0 and ids never given.
func (t *EncapTable) Get(id uint32) Encapsulation {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if id == 0 || int(id) > len(t.all) {
		return Encapsulation{}
	}
	return t.all[id-1]
}
