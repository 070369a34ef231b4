package auth

import (
	"fmt"
	"log/slog"
	"os"
	"testing"
)

// helperEnv makes the test binary do a task of helperTasks instead.
const helperEnv = "RELAY_AUTH_TEST_HELPER"

var helperTasks = map[string]func(args []string) error{
	"open": func(args []string) error {
		s, err := OpenStore(args[0])
		if err != nil {
			fmt.Println(err)
			return nil
		}
		return s.Close()
	},
	"full":    fullDisk,
	"measure": measureOpen,
}

func TestMain(m *testing.M) {
	task := os.Getenv(helperEnv)
	if task == "" {
		os.Exit(m.Run())
	}
	if err := helperTasks[task](os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func nopLog() *slog.Logger { return slog.New(slog.DiscardHandler) }
