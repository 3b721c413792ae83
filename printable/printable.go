// Package printable makes text that strangers have written fit to be shown.
package printable

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Hidden reports whether r is a control character, or one that changes the order or the look of the text around it:
// terminals obey the former, readers are deceived by the latter.
func Hidden(r rune) bool {
	return unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp, unicode.Co, unicode.Cs)
}

// Clean returns s fit for a terminal: every character that is Hidden or no valid UTF-8 is replaced by "�".
func Clean(s string) string {
	return strings.Map(func(r rune) rune {
		if Hidden(r) {
			return utf8.RuneError
		}
		return r
	}, strings.ToValidUTF8(s, string(utf8.RuneError)))
}
