package config

import "slices"

// named is a setting with a fixed set of values.
type named interface{ Values() []string }

// nearest is the candidate with the fewest edits to get there from word.
func nearest(word string, candidates []string) string {
	return slices.MinFunc(candidates, func(a, b string) int { return distance(word, a) - distance(word, b) })
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
