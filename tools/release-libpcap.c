/*
 * What takes the place of libpcap's pcap-dbus.c in a static tcpleak: see tools/release.sh.
 *
 * Debian's libpcap can capture from the message bus, D-Bus, which no static library of Debian's could be linked for. The two
 * functions below are all that the rest of libpcap calls of it.
 */
#include <nss.h>
#include <stddef.h>

struct pcap;

/* Says of every interface that it is not a message bus. */
struct pcap *dbus_create(const char *device, char *errbuf, int *is_ours)
{
	(void)device;
	(void)errbuf;
	*is_ours = 0;
	return NULL;
}

int dbus_findalldevs(void *list, char *errbuf)
{
	(void)list;
	(void)errbuf;
	return 0;
}

/*
 * A filter may have names in it: host example.net, port https. For these glibc would load whatever /etc/nsswitch.conf asks for
 * into a static program, out of the libraries of another glibc, which has crashed programs. Files and DNS are built in.
 */
__attribute__((constructor)) static void resolve_with_what_is_built_in(void)
{
	__nss_configure_lookup("hosts", "files dns");
	__nss_configure_lookup("networks", "files");
	__nss_configure_lookup("protocols", "files");
	__nss_configure_lookup("services", "files");
}
