//go:build !wasip1

package tidegate

import (
	"fmt"
	"os"
)

func hostLog(level Level, message string) {
	names := [...]string{"debug", "info", "warn", "error"}
	fmt.Fprintf(os.Stderr, "%s: %s\n", names[level], message)
}
