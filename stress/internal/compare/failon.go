package compare

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Condition is one that results must not meet: "clashes>0" is about every sample of the side after, and
// "packets_per_second<-5%" about the change of the medians, if the samples tell it from chance.
type Condition struct {
	Figure  string
	Above   bool
	Bound   float64
	Percent bool
}

// String is the condition as it was written.
func (c Condition) String() string {
	operator, unit := "<", ""
	if c.Above {
		operator = ">"
	}
	if c.Percent {
		unit = "%"
	}
	return c.Figure + operator + strconv.FormatFloat(c.Bound, 'g', -1, 64) + unit
}

// ParseConditions reads a list such as "clashes>0,packets_per_second<-5%". Every problem is reported at once.
func ParseConditions(text string) ([]Condition, error) {
	var list []Condition
	var errs []error
	for word := range strings.SplitSeq(text, ",") {
		if word = strings.TrimSpace(word); word == "" {
			continue
		}
		c, err := parseCondition(word)
		list, errs = append(list, c), append(errs, err)
	}
	return list, errors.Join(errs...)
}

func parseCondition(word string) (Condition, error) {
	wrong := func(why string) (Condition, error) {
		return Condition{}, fmt.Errorf("condition %q: %s; want FIGURE>NUMBER, FIGURE<NUMBER, or a change such as FIGURE<-5%%",
			word, why)
	}
	i := strings.IndexAny(word, "<>")
	if i <= 0 {
		return wrong("there is no figure before a < or >")
	}
	c := Condition{Figure: strings.TrimSpace(word[:i]), Above: word[i] == '>'}
	number, percent := strings.CutSuffix(strings.TrimSpace(word[i+1:]), "%")
	v, err := strconv.ParseFloat(number, 64)
	if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
		return wrong(fmt.Sprintf("%q is no number", number))
	}
	c.Bound, c.Percent = v, percent
	return c, nil
}

func (c Condition) meets(v float64) bool {
	if c.Above {
		return v > c.Bound
	}
	return v < c.Bound
}

// ErrCannotTell marks a condition that the results have no answer to: no such figure, or too few samples.
var ErrCannotTell = errors.New("condition cannot be checked")

// Fail checks the conditions and lists in Failures those that the results meet.
func (c *Comparison) Fail(conditions []Condition) error {
	var errs []error
	for _, condition := range conditions {
		found := false
		for _, k := range c.Cases {
			i := slices.IndexFunc(k.Changes, func(f Change) bool { return f.Figure == condition.Figure && len(f.after) > 0 })
			if i < 0 {
				continue
			}
			found = true
			failure, err := condition.check(&k.Changes[i], c.Alpha)
			if err != nil {
				errs = append(errs, err)
			}
			if failure != "" {
				c.Failures = append(c.Failures, fmt.Sprintf("%s: %s: %s", condition, k.Name, failure))
			}
		}
		if !found {
			errs = append(errs, fmt.Errorf("%w: %s: no result has %s; there are %s", ErrCannotTell, condition, condition.Figure,
				c.figures()))
		}
	}
	return errors.Join(errs...)
}

// check says how the condition is met; empty if it is not.
func (c Condition) check(f *Change, alpha float64) (string, error) {
	if !c.Percent {
		for _, v := range f.after {
			if c.meets(v) {
				return fmt.Sprintf("%g in one of %d samples", v, len(f.after)), nil
			}
		}
		return "", nil
	}
	switch {
	case f.SamplesBefore == 0 || f.Judgement == Unknown && !f.constant:
		return "", fmt.Errorf("%w: %s: %d and %d samples are too few to tell a change from chance at p < %g; take 4 or more of each (5 for p < 0.01)",
			ErrCannotTell, c, f.SamplesBefore, f.SamplesAfter, alpha)
	case f.Percent == nil && *f.After != 0:
		return "", fmt.Errorf("%w: %s: the median before is zero, so there is no percentage; give an absolute bound",
			ErrCannotTell, c)
	case f.Percent != nil && c.meets(*f.Percent) && f.Judgement != Same:
		return fmt.Sprintf("%+.1f%%, p %.3g", *f.Percent, *f.P), nil
	}
	return "", nil
}

// figures are the names of all figures after, for an error.
func (c *Comparison) figures() string {
	var names []string
	for _, k := range c.Cases {
		for _, f := range k.Changes {
			if len(f.after) > 0 {
				names = append(names, f.Figure)
			}
		}
	}
	slices.Sort(names)
	return strings.Join(slices.Compact(names), ", ")
}
