package config

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"net/textproto"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Size is a number of octets.
type Size int64

// ParseSize reads a size in octets: a number with K, M, G or T, which may be followed by iB or B. All are binary.
func ParseSize(text string) (Size, error) {
	number := strings.TrimRight(text, "KMGTiBkmgtb")
	unit := strings.ToUpper(strings.TrimSuffix(strings.TrimSuffix(strings.ToUpper(text[len(number):]), "B"), "I"))
	shift, known := map[string]int{"": 0, "K": 10, "M": 20, "G": 30, "T": 40}[unit]
	n, err := strconv.ParseFloat(number, 64)
	n *= float64(int64(1) << shift)
	if err != nil || !known || !(n >= 0 && n <= math.MaxInt64/4) {
		return 0, errors.New("not a size; write it as 512MiB or 2GiB")
	}
	return Size(n), nil
}

// String writes a size as ParseSize reads it.
func (s Size) String() string {
	for i, unit := range []string{"TiB", "GiB", "MiB", "KiB"} {
		if one := Size(1) << (40 - 10*i); s >= one && s%one == 0 {
			return strconv.FormatInt(int64(s/one), 10) + unit
		}
	}
	return strconv.FormatInt(int64(s), 10)
}

// Share is a part of one processor's time: 0.05 is 5 %.
type Share float64

// ParseShare reads a percentage, "5%"; 0 and off are none.
func ParseShare(text string) (Share, error) {
	if text == "0" || text == "off" {
		return 0, nil
	}
	number, percent := strings.CutSuffix(text, "%")
	n, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	if err != nil || !percent || !(n >= 0 && n <= 1e6) {
		return 0, errors.New("not a percentage; write it as 5%, or off")
	}
	return Share(n / 100), nil
}

// String writes a share as ParseShare reads it.
func (s Share) String() string {
	if s == 0 {
		return "off"
	}
	return strconv.FormatFloat(float64(s)*100, 'g', 4, 64) + "%"
}

// mebibytes is a number of MiB, as -B takes it; a unit may be given.
type mebibytes int

// A shape is how the value of a key is written.
type shape int

const (
	scalar shape = iota
	list
	mapping
)

func shapeOf(value any) shape {
	switch reflect.TypeOf(value).Elem().Kind() {
	case reflect.Slice:
		return list
	case reflect.Map:
		return mapping
	}
	return scalar
}

// An origin is where a value was given.
type origin struct {
	where string // "tcpleak.yaml:12", "TCPLEAK_FILTER", "--filter"
	line  int    // in the file; 0 where it is another place, and names the key itself
}

// A setting is what one place says of one key.
type setting struct {
	key     *key
	from    origin
	text    string // of a scalar
	entries []entry
	public  bool // what it says can be read by others than who runs the agent
}

// An entry is one of a list, or of a map.
type entry struct {
	from origin
	name string // of a map
	text string
}

// maxEntries is how many entries a list or map may have: more than any is good for, few enough to compare each with each.
const maxEntries = 1000

// take puts settings into the Agent, each over what is there.
func (a *Agent) take(settings []setting, wrong *problems) {
	for _, s := range settings {
		value := s.key.value(a)
		if len(s.entries) > maxEntries {
			wrong.addf(s.from.line, "%s: has %d entries; %d are the most", s.key.label(s.from, ""), len(s.entries), maxEntries)
			continue
		}
		switch shapeOf(value) {
		case scalar:
			if err := setScalar(value, s.text); err != nil {
				wrong.addf(s.from.line, "%s: %s %w", s.key.label(s.from, ""), quote(s.text), err)
				continue
			}
			a.from[s.key.name] = s.from
		case list:
			all := reflect.MakeSlice(reflect.TypeOf(value).Elem(), len(s.entries), len(s.entries))
			for i, e := range s.entries {
				all.Index(i).SetString(e.text)
				a.from[fmt.Sprint(s.key.name, ".", i)] = e.from
			}
			reflect.ValueOf(value).Elem().Set(all)
			a.from[s.key.name] = s.from
		case mapping:
			a.takeMap(reflect.ValueOf(value).Elem(), s, wrong)
		}
	}
}

func (a *Agent) takeMap(m reflect.Value, s setting, wrong *problems) {
	a.from[s.key.name] = s.from
	seen := make(map[string]bool)
	for _, e := range s.entries {
		_, header := m.Interface().(Headers)
		if header {
			e.name = textproto.CanonicalMIMEHeaderKey(e.name)
		}
		if s.key.secret != nil && s.public && s.key.secret(e.name) {
			wrong.addf(e.from.line, "%s: it may be a secret that others can read here; give it in the environment, as %s='%s=…'",
				s.key.label(e.from, e.name), s.key.variable(), printable(e.name))
			continue
		}
		if m.IsNil() {
			m.Set(reflect.MakeMap(m.Type()))
		}
		name := reflect.ValueOf(e.name).Convert(m.Type().Key())
		// --threshold leak=60s --threshold leak=10 sets both.
		if seen[e.name] && !header {
			e.text = m.MapIndex(name).String() + ", " + e.text
		}
		seen[e.name] = true
		m.SetMapIndex(name, reflect.ValueOf(e.text))
		a.from[s.key.name+"."+e.name] = e.from
	}
}

// label names the key, and an entry of its map, and says where it was given.
func (k *key) label(from origin, entry string) string {
	name := k.name
	if entry != "" {
		name += "." + printable(entry)
	}
	switch {
	case from == (origin{}):
		return name
	case from.line > 0:
		return from.where + ": " + name
	case entry != "":
		return from.where + ": " + printable(entry)
	}
	return from.where
}

// setScalar reads text into what value points to, which is left alone if that fails. The error goes on where the text ends.
func setScalar(value any, text string) error {
	switch v := value.(type) {
	case *string:
		*v = text
	case *bool:
		return set(v, text, strconv.ParseBool, "is neither true nor false")
	case *int:
		return set(v, text, strconv.Atoi, "is not a whole number; write its digits alone")
	case *time.Duration:
		return set(v, text, time.ParseDuration, "is not a duration; write it with a unit, as 30s or 5m")
	case *Size:
		return set(v, text, ParseSize, "is not a size; write it as 512MiB or 2GiB")
	case *Share:
		return set(v, text, ParseShare, "is not a percentage; write it as 5%, or off")
	case *mebibytes:
		return set(v, text, parseMebibytes, "is not a number of MiB; write it as 32 or 32MiB")
	default:
		panic(fmt.Sprintf("a key of type %T", value))
	}
	return nil
}

func set[T any](v *T, text string, parse func(string) (T, error), problem string) error {
	parsed, err := parse(text)
	if err != nil {
		return errors.New(problem)
	}
	*v = parsed
	return nil
}

func parseMebibytes(text string) (mebibytes, error) {
	if n, err := strconv.Atoi(text); err == nil {
		return mebibytes(n), nil
	}
	size, err := ParseSize(text)
	if err == nil && size%(1<<20) != 0 {
		err = errors.New("is not a number of MiB")
	}
	return mebibytes(size >> 20), err
}

// write is a value as the file has it.
func write(value any) string {
	switch v := value.(type) {
	case *string:
		return *v
	case *time.Duration:
		if *v%time.Second == 0 && *v < 10*time.Minute {
			return fmt.Sprintf("%ds", *v/time.Second)
		}
		return v.String()
	case *mebibytes:
		return fmt.Sprintf("%dMiB", *v)
	}
	v := reflect.ValueOf(value).Elem()
	switch v.Kind() {
	case reflect.Slice:
		var all []string
		for i := range v.Len() {
			all = append(all, v.Index(i).String())
		}
		return "[" + strings.Join(all, ", ") + "]"
	case reflect.Map:
		return "{}"
	}
	return fmt.Sprint(v.Interface())
}

// closest returns that of names which text is most likely to be meant for, or "".
func closest(text string, names []string) string {
	text = strings.ToLower(strings.ReplaceAll(text, "-", "_"))
	for _, name := range names {
		if len(text) > 2 && strings.HasPrefix(name, text) {
			return name
		}
	}
	best, least := "", min(1+len(text)/4, 3)+1
	for _, name := range names {
		if d := distance(text, name, least); d < least {
			best, least = name, d
		}
	}
	return best
}

// distance is how many letters must be added, removed, replaced or swapped with the next to come from a to b; limit if it
// is that many or more.
func distance(a, b string, limit int) int {
	if len(a) > len(b)+limit || len(b) > len(a)+limit {
		return limit
	}
	var before []int
	last := make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := range len(a) {
		row := make([]int, len(b)+1)
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			row[j+1] = min(last[j]+cost, last[j+1]+1, row[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, last = last, row
	}
	return min(last[len(b)], limit)
}

// maxQuoted is how many octets of a value an error repeats.
const maxQuoted = 60

// quote is text for an error: of a bearable length, without anything that a terminal obeys.
func quote(text string) string {
	if len(text) > maxQuoted {
		return strconv.Quote(text[:maxQuoted]) + "…"
	}
	return strconv.Quote(text)
}

// printable is quote for a name.
func printable(name string) string {
	quoted := quote(name)
	if inner := quoted[1 : len(quoted)-1]; inner == name {
		return name
	}
	return quoted
}

// sortedNames returns the names of a map in their order.
func sortedNames[K ~string, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }
