package privilege

import (
	"fmt"
	"os"
	"os/user"
	"slices"
	"strconv"
)

// An account is whom to become.
type account struct {
	name     string // for people; the number where there is no name
	uid, gid int
	groups   []int // supplementary
}

// caller is what choose needs to know of the process.
type caller struct {
	uid, euid, gid int
	getenv         func(string) string
}

// choose returns whom the process is to become, or nil where it stays who it is. wanted is Config.User.
func choose(wanted string, c caller) (*account, error) {
	switch {
	case wanted != "":
		a, err := find(wanted)
		if err == nil && a.uid == c.uid && a.uid == c.euid {
			return nil, nil
		}
		return a, err
	case c.euid != 0:
		return nil, nil
	case c.uid != 0:
		// The program's file has the set-user-ID bit, and whoever calls it makes up its environment: that is not asked.
		return number(strconv.Itoa(c.uid), c.gid), nil
	}
	for _, by := range invokers {
		name := c.getenv(by.user)
		if name == "" {
			continue
		}
		a, err := find(name)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", by.user, err)
		}
		if a.uid == 0 {
			break // root called sudo
		}
		// sudo knows the group also of those that no file lists.
		if gid, err := strconv.Atoi(c.getenv(by.group)); err == nil {
			a.gid = gid
		}
		return a, nil
	}
	if a, err := find("nobody"); err == nil {
		return a, nil
	}
	return number("65534", 65534), nil // an image without a list of users
}

// invokers are what sudo, run0, doas and pkexec leave in the environment.
var invokers = [...]struct{ user, group string }{{"SUDO_UID", "SUDO_GID"}, {"DOAS_USER", ""}, {"PKEXEC_UID", ""}}

// ByRootItself reports whether the process is root's, and nobody has called sudo or the like to start it. Drop then becomes
// nobody, who can write hardly anywhere; Config.User "root" keeps what root owns within reach, without capabilities.
func ByRootItself() bool {
	if os.Geteuid() != 0 || os.Getuid() != 0 {
		return false
	}
	for _, by := range invokers {
		if os.Getenv(by.user) != "" {
			return false
		}
	}
	return true
}

// find looks for a user by name or number. A number that is not listed is its own group, for want of a better.
func find(name string) (*account, error) {
	u, err := user.Lookup(name)
	if err == nil {
		return listed(u)
	}
	if id, err := strconv.ParseUint(name, 10, 31); err == nil {
		return number(name, int(id)), nil
	}
	return nil, fmt.Errorf("there is no user %q: name one of getent passwd, or a number", name)
}

// number is the account of a user by number, of the group gid unless the user is listed.
func number(id string, gid int) *account {
	if u, err := user.LookupId(id); err == nil {
		if a, err := listed(u); err == nil {
			return a
		}
	}
	uid, _ := strconv.Atoi(id)
	return &account{name: strconv.Itoa(uid), uid: uid, gid: gid}
}

func listed(u *user.User) (*account, error) {
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		return nil, fmt.Errorf("user %s has the number %q: tcpleak can only become a user with a numeric id", u.Username, u.Uid)
	}
	gid, err := strconv.Atoi(u.Gid)
	if err != nil {
		return nil, fmt.Errorf("user %s has the group %q: tcpleak can only take on a numeric group", u.Username, u.Gid)
	}
	a := &account{name: u.Username, uid: uid, gid: gid}
	// Without a list of groups, the user's own must do.
	ids, _ := u.GroupIds()
	for _, id := range ids {
		if g, err := strconv.Atoi(id); err == nil && !slices.Contains(a.groups, g) {
			a.groups = append(a.groups, g)
		}
	}
	return a, nil
}

// now is the user that the process runs as.
func now() (name string, uid, gid int) {
	uid, gid = os.Geteuid(), os.Getegid()
	return number(strconv.Itoa(uid), gid).name, uid, gid
}
