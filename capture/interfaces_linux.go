package capture

import (
	"syscall"
	"unsafe"
)

// linkTypesOf returns those that libpcap would give the interfaces, where the kernel's kind of hardware decides it.
func linkTypesOf() map[string]string {
	names := make(map[string]string)
	rib, err := syscall.NetlinkRIB(syscall.RTM_GETLINK, syscall.AF_UNSPEC)
	if err != nil {
		return names
	}
	messages, err := syscall.ParseNetlinkMessage(rib)
	if err != nil {
		return names
	}
	for i := range messages {
		m := &messages[i]
		if m.Header.Type != syscall.RTM_NEWLINK || len(m.Data) < syscall.SizeofIfInfomsg {
			continue
		}
		link := linkOfHardware((*syscall.IfInfomsg)(unsafe.Pointer(&m.Data[0])).Type)
		attributes, err := syscall.ParseNetlinkRouteAttr(m)
		if err != nil {
			continue
		}
		for _, a := range attributes {
			if a.Attr.Type == syscall.IFLA_IFNAME && len(a.Value) > 0 {
				names[string(a.Value[:len(a.Value)-1])] = link
			}
		}
	}
	return names
}

func linkOfHardware(kind uint16) string {
	const arphrdNone, arphrdRadiotap, arphrd80211 = 0xfffe, 803, 801
	switch kind {
	case syscall.ARPHRD_ETHER, syscall.ARPHRD_LOOPBACK:
		return linkEthernet.String()
	case arphrdNone: // a tun device
		return linkRaw.String()
	case arphrd80211:
		return link80211.String()
	case arphrdRadiotap: // in monitor mode
		return link80211Radiotap.String()
	}
	return ""
}
