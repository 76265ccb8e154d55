//go:build unix

package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// spark merges by a full outer join into a new folder. Its start is not counted, what it takes to have the rows on disk is.
func spark(arguments string) func(context.Context, scene) (cost, error) {
	return func(ctx context.Context, s scene) (cost, error) {
		c, err := sparkMerge(ctx, arguments, s.Dir, s.task(s.out()))
		if err != nil {
			return c, err
		}
		synced, err := timed(ctx, durable(s.out(), "true"))
		c.Wall += synced.Wall
		return c, err
	}
}

// sparkMerge carries out one task, as the answer of a session that is up times it; CPU and memory are of the whole process.
func sparkMerge(ctx context.Context, arguments, work, task string) (cost, error) {
	tasks := filepath.Join(work, "tasks.json")
	if err := os.WriteFile(tasks, []byte(task+"\n"), 0o644); err != nil {
		return cost{}, err
	}
	c, output, err := timedOutput(ctx, []string{
		cmp.Or(os.Getenv("JAVA"), "java"), "-Xmx4g", "-Dspark.local.dir=" + work, "@" + arguments, "testdata/spark/Engines.java", tasks,
	})
	if err != nil {
		return c, err
	}
	seconds, err := strconv.ParseFloat(said(output).find(`"seconds":([0-9.]+)`), 64)
	if err != nil {
		return c, fmt.Errorf("no answer: %s", output)
	}
	c.Wall = time.Duration(seconds * float64(time.Second))
	return c, nil
}
