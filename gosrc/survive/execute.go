package main

import (
	"fmt"
	"os/exec"
)

const children = 50

// execute starts child processes during the sleeps: fork and exec with all threads busy, and SIGCHLD.
func execute(o *options) (map[string]any, bool, error) {
	c := &crew{}
	c.start(o.sleepers, func(int) { c.sleep(o.requested) })
	c.begun.Wait()
	for i := 0; i < children; i++ {
		if output, err := exec.Command("true").CombinedOutput(); err != nil {
			return nil, false, fmt.Errorf("true: %w %s", err, output)
		}
	}
	c.finish(o.requested)
	figures := c.figures()
	figures["children"] = children
	return figures, c.sound(), nil
}
