package tracker

import (
	"testing"
	"unsafe"
)

// TestARecordIsFiveLines guards the layout: fields added carelessly cost each of a million connections another line.
func TestARecordIsFiveLines(t *testing.T) {
	var r record
	if size, rare := unsafe.Sizeof(r), unsafe.Offsetof(r.rare); size != 320 || rare != 256 {
		t.Errorf("a record is %d octets, of which the first %d are for every segment; want 320, 256", size, rare)
	}
}
