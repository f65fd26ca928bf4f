package vocabulary

// LogFormat is how log lines are written.
type LogFormat string

// Text is key=value for people, JSON an object a line.
const (
	FormatText LogFormat = "text"
	FormatJSON LogFormat = "json"
)

// Values lists them.
func (LogFormat) Values() []string { return words(FormatText, FormatJSON) }

// LogLevel is what is logged at least.
type LogLevel string

// From most to least.
const (
	LevelDebug LogLevel = "debug"
	LevelInfo  LogLevel = "info"
	LevelWarn  LogLevel = "warn"
	LevelError LogLevel = "error"
)

// Values lists them.
func (LogLevel) Values() []string { return words(LevelDebug, LevelInfo, LevelWarn, LevelError) }
