package tidegate

// Level is how much a line of the log matters.
type Level uint8

// The levels.
const (
	// Debug: for the plugin's author.
	Debug Level = iota
	// Info: for whoever wonders what happened.
	Info
	// Warn: something is off, and work goes on.
	Warn
	// Error: a person must look.
	Error
)

// Log writes a line to the host's log, under the plugin's name. Lines past the host's limit are
// counted and suppressed. Never log a record's values. Natively it goes to standard error.
func Log(level Level, message string) { hostLog(level, message) }

// exported is what the component is.
var exported *Plugin

// Export makes a plugin what the component is. It is called from an init function, or from a
// variable of the main package, and natively does nothing but remember.
func Export(plugin *Plugin) *Plugin {
	exported = plugin
	return plugin
}
