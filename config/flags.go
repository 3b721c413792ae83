package config

import (
	"strings"

	"github.com/spf13/pflag"
)

// AddFlags adds a flag for every key. Values are judged by Load, with all else.
func AddFlags(f *pflag.FlagSet) {
	defaults := Default()
	for i := range keys {
		k := &keys[i]
		v := &flagValue{key: k, initial: write(k.value(&defaults))}
		if v.initial == "[]" || v.initial == "{}" {
			v.initial = ""
		}
		help := k.help
		if shapeOf(k.value(&defaults)) != scalar {
			help += "; repeatable"
		}
		flag := f.VarPF(v, k.flagName(), k.short, help)
		if v.Type() == "bool" {
			flag.NoOptDefVal = "true"
		}
	}
}

// flagValue keeps what a flag was given, for Load.
type flagValue struct {
	key     *key
	initial string
	texts   []string
}

// Set implements pflag.Value.
func (v *flagValue) Set(text string) error {
	v.texts = append(v.texts, text)
	return nil
}

// String implements pflag.Value.
func (v *flagValue) String() string {
	if v.texts == nil {
		return v.initial
	}
	return strings.Join(v.texts, ",")
}

// Type implements pflag.Value; the help shows it.
func (v *flagValue) Type() string {
	if v.key == nil || v.key.takes == "" {
		return "bool"
	}
	return v.key.takes
}

// fromFlags reads the settings in f, in the order of the keys.
func fromFlags(f *pflag.FlagSet, wrong *problems) []setting {
	if f == nil {
		return nil
	}
	var settings []setting
	for i := range keys {
		k := &keys[i]
		flag := f.Lookup(k.flagName())
		if flag == nil || !flag.Changed {
			continue
		}
		v, ours := flag.Value.(*flagValue)
		if !ours {
			continue
		}
		s := setting{key: k, from: origin{where: "--" + k.flagName()}, public: true}
		switch shapeOf(k.value(new(Agent))) {
		case scalar:
			s.text = v.texts[len(v.texts)-1]
		case list:
			for _, text := range v.texts {
				for part := range strings.SplitSeq(text, ",") {
					if part = strings.TrimSpace(part); part != "" {
						s.entries = append(s.entries, entry{from: s.from, text: part})
					}
				}
			}
		case mapping: // a value may have commas
			for _, text := range v.texts {
				e := entry{from: s.from, text: text}
				if err := e.pair(); err != nil {
					wrong.addf(0, "%s: %w", s.from.where, err)
					continue
				}
				s.entries = append(s.entries, e)
			}
		}
		settings = append(settings, s)
	}
	return settings
}
