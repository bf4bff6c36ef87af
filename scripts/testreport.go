// Command testreport reads what `go test -json` writes, shows the result of each package and all that failing tests
// printed, and appends the counts to the file that is named as its argument. It exits with 1 when anything failed.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"strings"
)

type line struct {
	Action, Package, Test, Output string
	ImportPath                    string
	Elapsed                       float64
}

func main() {
	output := map[string][]string{}
	counts := map[string]int{}
	failed := false
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var l line
		if json.Unmarshal(lines.Bytes(), &l) != nil {
			fmt.Println(lines.Text()) // of a build, before the first test
			continue
		}
		key := l.Package + " " + l.Test
		switch l.Action {
		case "output":
			output[key] = append(output[key], l.Output)
		case "build-output":
			fmt.Print(l.Output)
		case "pass", "fail", "skip":
			if l.Action == "fail" {
				failed = true
				fmt.Print(strings.Join(output[key], ""))
			}
			if l.Test != "" {
				counts[l.Action]++
			} else if l.Action == "pass" {
				fmt.Printf("ok   %s %.1fs\n", l.Package, l.Elapsed)
			}
			if l.Test != "" && l.Action == "skip" {
				fmt.Printf("skip %s: %s\n", key, reason(output[key]))
			}
			delete(output, key)
		}
	}
	if err := lines.Err(); err != nil {
		fmt.Fprintln(os.Stderr, "testreport:", err)
		os.Exit(1)
	}
	if err := add(os.Args[1], counts); err != nil {
		fmt.Fprintln(os.Stderr, "testreport:", err)
		os.Exit(1)
	}
	if failed {
		os.Exit(1)
	}
}

// reason is what a test said when it skipped itself.
func reason(output []string) string {
	for _, text := range output {
		text = strings.TrimSpace(text)
		if !strings.HasPrefix(text, "===") && !strings.HasPrefix(text, "---") {
			return text
		}
	}
	return "no reason"
}

func add(path string, counts map[string]int) error {
	file, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintln(file, counts["pass"], counts["fail"], counts["skip"]); err != nil {
		return err
	}
	return file.Close()
}
