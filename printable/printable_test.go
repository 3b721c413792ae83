package printable

import "testing"

func TestClean(t *testing.T) {
	for in, want := range map[string]string{
		"":                       "",
		"größer 大":               "größer 大",
		"\x1b[31mred\x1b[0m":     "�[31mred�[0m",
		"two\nlines\tand a tab":  "two�lines�and a tab",
		"\u009b31m":              "�31m",
		"invoice\u202etxt.exe":   "invoice�txt.exe",
		"zero\u200bwidth\ufeff":  "zero�width�",
		"line\u2028paragraph":    "line�paragraph",
		"private \ue000":         "private �",
		"\xff\xfe and \xe2\x82":  "� and �",
		"\xed\xa0\x80 surrogate": "� surrogate",
	} {
		if got := Clean(in); got != want {
			t.Errorf("Clean(%q) = %q, want %q", in, got, want)
		}
		if again := Clean(Clean(in)); again != want {
			t.Errorf("cleaned twice, %q is %q", in, again)
		}
	}
}
