package structure

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// pure packages compute: they may use golang.org/x/sys/unix for its constants only,
// and import nothing of the project's that is not pure.
var pure = []string{
	"internal/packet", "internal/statistics", "internal/vocabulary", "daemon/internal/policy", "daemon/internal/policy/bytematch",
	"daemon/internal/policy/index", "daemon/internal/policy/limit", "daemon/internal/gate",
	"daemon/internal/names", "daemon/internal/names/dns", "daemon/internal/names/flows", "daemon/internal/names/hello",
	"daemon/internal/names/http1", "daemon/internal/names/quic",
	"daemon/internal/reassembly", "daemon/internal/sets",
}

// laboratory are packages that make traffic, and tests. A daemon that runs in
// production has nothing of them in it.
var laboratory = []string{"internal/traffic", "internal/testkit"}

// own are the project's packages among those that a package imports, from the
// module's folder.
func (p *goPackage) own() (list []string) {
	for _, i := range p.Imports {
		if folder, ok := strings.CutPrefix(i, module+"/"); ok {
			list = append(list, folder)
		}
	}
	slices.Sort(list)
	return list
}

// TestDrawing prints who imports whom, commands first, shared packages from the top
// down: go test ./internal/structure -run Drawing -v. The language holds that nothing
// imports what is below another command's internal/, and that there is no circle.
func TestDrawing(t *testing.T) {
	packages := map[string]goPackage{}
	for _, p := range list(t) {
		packages[p.folder()] = p
	}
	// A package's height is one more than that of the highest that it imports.
	heights := map[string]int{}
	var height func(string) int
	height = func(folder string) int {
		if h, ok := heights[folder]; ok {
			return h
		}
		h := 0
		p := packages[folder]
		for _, i := range p.own() {
			h = max(h, height(i)+1)
		}
		heights[folder] = h
		return h
	}
	var drawing strings.Builder
	draw := func(title string, keep func(string) bool) {
		fmt.Fprintf(&drawing, "\n%s\n", title)
		var folders []string
		for folder := range packages {
			if keep(folder) {
				folders = append(folders, folder)
			}
		}
		slices.SortFunc(folders, func(a, b string) int {
			if d := height(b) - height(a); d != 0 {
				return d
			}
			return strings.Compare(a, b)
		})
		for _, folder := range folders {
			p := packages[folder]
			var below []string
			for _, i := range p.own() {
				below = append(below, strings.TrimPrefix(strings.TrimPrefix(i, "internal/"), title+"/"))
			}
			fmt.Fprintf(&drawing, "  %d %-36s %s\n", height(folder), folder, strings.Join(below, " "))
		}
	}
	for _, command := range []string{"daemon", "stress", "conntrackwatch", "lab"} {
		if _, ok := packages[command]; !ok {
			t.Errorf("there is no command %s", command)
		}
		draw(command, func(folder string) bool { return within(folder, command) })
	}
	draw("internal", func(folder string) bool { return within(folder, "internal") })
	t.Log(drawing.String())
}

func TestPurePackagesImportPureOnes(t *testing.T) {
	found := 0
	for _, p := range list(t) {
		if !slices.Contains(pure, p.folder()) {
			continue
		}
		found++
		for _, i := range p.own() {
			if !slices.Contains(pure, i) {
				t.Errorf("%s is to be pure, and imports %s", p.folder(), i)
			}
		}
	}
	if found != len(pure) {
		t.Errorf("%d of the pure packages exist, want %d: %v", found, len(pure), pure)
	}
}

func TestDaemonHasNoLaboratory(t *testing.T) {
	packages := map[string]goPackage{}
	for _, p := range list(t) {
		packages[p.folder()] = p
	}
	seen := map[string]bool{}
	var walk func(way []string)
	walk = func(way []string) {
		folder := way[len(way)-1]
		if seen[folder] {
			return
		}
		seen[folder] = true
		if slices.Contains(laboratory, folder) {
			t.Errorf("verdictd is built with what only the lab needs: %s", strings.Join(way, " imports "))
		}
		p := packages[folder]
		for _, i := range p.own() {
			walk(append(slices.Clone(way), i))
		}
	}
	walk([]string{"daemon"})
	for _, l := range laboratory {
		if _, ok := packages[l]; !ok {
			t.Errorf("%s does not exist any more: take it out of the list", l)
		}
	}
}
