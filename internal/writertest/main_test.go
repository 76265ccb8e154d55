//go:build unix

package writertest

import (
	"flag"
	"os"
	"testing"
	"time"

	"github.com/hupsert/hupsert/internal/servicetest"
)

var (
	seedFlag = flag.Uint64("seed", 0, "repeat the choices of a test whose seed was printed; 0: others each time")
	budget   = flag.Duration("budget", 20*time.Second, "how long the writers write")
)

func TestMain(m *testing.M) {
	if text := os.Getenv(jobVariable); text != "" {
		write(text)
		return
	}
	servicetest.Main(m)
}
