package config

import (
	"slices"
	"strings"
)

// named is a setting with a fixed set of values.
type named interface{ Values() []string }

// nearest is the candidate with the fewest edits to get there from word, or one that begins with it.
func nearest(word string, candidates []string) string {
	far := func(candidate string) int {
		if len(word) > 1 && strings.HasPrefix(candidate, word) {
			return 1
		}
		return distance(word, candidate)
	}
	return slices.MinFunc(candidates, func(a, b string) int { return far(a) - far(b) })
}

// distance is Levenshtein's.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j]+1, row[j+1]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}
