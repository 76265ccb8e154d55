package main

import (
	"fmt"
	"strings"
)

// printNext says which command to try next: the one that was given, by another first word and without the flags that
// only this one has.
func (s *session) printNext(command string, drop ...string) {
	args := []string{command}
	replaced := false
	for i := 0; i < len(s.args); i++ {
		name, _, joined := strings.Cut(s.args[i], "=")
		switch {
		case !replaced && !strings.HasPrefix(s.args[i], "-"):
			replaced = true // the command itself: flags before it are of every command
			continue
		case dropped(name, drop):
			if !joined && !switches[name] {
				i++
			}
			continue
		}
		args = append(args, s.args[i])
	}
	fmt.Fprintf(s.stdout, "\nnext: %s\n", s.line(len("next: "), args))
}

// switches are the flags among those that are dropped that take no value.
var switches = map[string]bool{"--exit-code": true, "--dry-run": true}

func dropped(name string, drop []string) bool {
	for _, d := range drop {
		if name == d {
			return true
		}
	}
	return false
}
