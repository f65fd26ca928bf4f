package sets

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// Builder is what a text is read into.
type Builder interface {
	// Add takes one entry without white space around it. It is refused with an error that
	// says what to write, for people.
	Add(entry []byte) error
	// Len is how many entries there are, each once.
	Len() int
}

// Limits bound what is read. A field that is 0 stands for its default.
type Limits struct {
	Entries int   // 4,194,304
	Bytes   int64 // of text, after gzip: 268,435,456
}

const (
	defaultEntries = 4 << 20
	defaultBytes   = 256 << 20
	// maxLine is the longest line in bytes; a name with escapes of other alphabets has 1,000.
	maxLine = 1024
	// maxProblems is how many problems are listed.
	maxProblems = 100
	// maxExcerpt is how much of a wrong line is shown, in bytes.
	maxExcerpt = 60
)

// ErrTooMany is what Read returns where the text exceeds its Limits.
var ErrTooMany = errors.New("more than the limit")

// Problem is a line that is no entry.
type Problem struct {
	Line int
	Text string // its beginning
	Why  error
}

// Problems are the lines of one text that are no entries.
type Problems struct {
	Source string
	List   []Problem // the first 100
	Count  int       // of all
}

func (p *Problems) Error() string {
	var text strings.Builder
	for i, one := range p.List {
		if i > 0 {
			text.WriteByte('\n')
		}
		fmt.Fprintf(&text, "%s:%d: %q %v", p.Source, one.Line, one.Text, one.Why)
	}
	if more := p.Count - len(p.List); more > 0 {
		fmt.Fprintf(&text, "\n%s: %d more", p.Source, more)
	}
	return text.String()
}

func (p *Problems) add(line int, text []byte, why error) {
	if p.Count++; len(p.List) < maxProblems {
		text = text[:min(len(text), maxExcerpt)]
		for len(text) > 0 && !utf8.Valid(text) && len(text) > maxExcerpt-utf8.UTFMax {
			text = text[:len(text)-1]
		}
		p.List = append(p.List, Problem{Line: line, Text: string(text), Why: why})
	}
}

// Read reads a text into b. source is its name in problems. It returns a *Problems where
// lines are no entries, after having read all of them; an error with ErrTooMany; or why
// the text could not be read. Whatever it returns, b may have got entries.
func Read(b Builder, source string, r io.Reader, l Limits) error {
	if l.Entries == 0 {
		l.Entries = defaultEntries
	}
	if l.Bytes == 0 {
		l.Bytes = defaultBytes
	}
	in := bufio.NewReaderSize(r, 1<<16)
	if magic, _ := in.Peek(2); bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		z, err := gzip.NewReader(in)
		if err != nil {
			return fmt.Errorf("%s: %w", source, err)
		}
		in = bufio.NewReaderSize(z, 1<<16)
	}
	problems := &Problems{Source: source}
	left := l.Bytes
	for number := 1; ; number++ {
		line, size, err := readLine(in, left)
		if left -= size; left < 0 {
			return fmt.Errorf("%s: %w of %d bytes", source, ErrTooMany, l.Bytes)
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("%s:%d: %w", source, number, err)
		}
		if number == 1 {
			line = bytes.TrimPrefix(line, []byte("\ufeff"))
		}
		if entry := content(line); size > maxLine {
			problems.add(number, line, fmt.Errorf("is a line of more than %d bytes", maxLine))
		} else if len(entry) > 0 {
			if why := b.Add(entry); why != nil {
				problems.add(number, entry, why)
			}
		}
		if b.Len() > l.Entries {
			return fmt.Errorf("%s:%d: %w of %d entries", source, number, ErrTooMany, l.Entries)
		}
		if err != nil { // the end
			break
		}
	}
	if problems.Count > 0 {
		return problems
	}
	return nil
}

// readLine returns the next line, or the beginning of one that is longer than the buffer,
// and its size. It reads on until size exceeds most.
func readLine(in *bufio.Reader, most int64) (line []byte, size int64, err error) {
	line, err = in.ReadSlice('\n')
	size = int64(len(line))
	if !errors.Is(err, bufio.ErrBufferFull) {
		return line, size, err
	}
	line = bytes.Clone(line[:maxLine])
	for errors.Is(err, bufio.ErrBufferFull) && size <= most {
		var more []byte
		more, err = in.ReadSlice('\n')
		size += int64(len(more))
	}
	if errors.Is(err, bufio.ErrBufferFull) {
		err = nil
	}
	return line, size, err
}

// content is a line without comment and white space.
func content(line []byte) []byte {
	for n := bytes.IndexByte(line, '#'); n >= 0; {
		if n == 0 || line[n-1] == ' ' || line[n-1] == '\t' {
			line = line[:n]
			break
		}
		next := bytes.IndexByte(line[n+1:], '#')
		if next < 0 {
			break
		}
		n += 1 + next
	}
	return bytes.TrimSpace(line)
}
