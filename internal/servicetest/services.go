package servicetest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// Options say which services there shall be. The zero value is an HDFS with one datanode.
type Options struct {
	// Metastore adds a Hive Metastore 3.1 over Derby, whose warehouse is /warehouse on HDFS.
	Metastore bool
	// Datanodes is the number of datanodes; 0 is one. Files have as many replicas, at most three.
	Datanodes int
	// HA gives a pair of namenodes, of which the first is active, under the nameservice ns1.
	HA bool
	// Kerberos gives a realm with users alice and bob, and services that let nobody else in. All keys are in Keytab.
	Kerberos bool
	// Protection of data and calls under Kerberos: authentication (also where empty), integrity or privacy.
	Protection string
	// Conf holds Hadoop and metastore settings of the servers that differ from what the fixture sets; under Kerberos
	// also those of the KDC (max.ticket.lifetime, in milliseconds).
	Conf map[string]string
	// On has a metastore of its own process work on the HDFS of other services, and in their realm; without, its
	// warehouse is a folder of this machine. See StartMetastore.
	On *Services
	// Dir is the folder that all data lies in. Where empty it is a temporary one that goes with the services.
	Dir string
	// Keep starts on the data that earlier services left in Dir, also killed ones, on the ports that those had.
	Keep bool
}

// Services are a running HDFS, and what else was asked for.
type Services struct {
	// HDFS is the URL clients use: hdfs://localhost:PORT, or hdfs://ns1 with HA.
	HDFS string
	// Namenodes has host:port of each namenode.
	Namenodes []string
	// Metastore is localhost:PORT, and empty where there is none.
	Metastore string
	// ConfDir is a HADOOP_CONF_DIR for clients, with core-site.xml, hdfs-site.xml and hive-site.xml.
	ConfDir string
	// Dir holds all data; see Options.Dir.
	Dir string
	// PID is the JVM's process.
	PID int
	// Realm, KRB5Conf and Keytab are of Kerberos, and empty without. The principals are alice, bob, hdfs/localhost,
	// HTTP/localhost and hive/localhost.
	Realm, KRB5Conf, Keytab string

	options Options
	version string // of a metastore of its own process; empty where this is HDFS
	temp    bool
	jvm     *jvm
}

// folders numbers what tests get for themselves, so that a test that runs twice finds nothing of its first run.
var folders atomic.Int64

// Start starts services that end with tb. Where they are not installed tb is skipped, or fails with
// HUPSERT_REQUIRE=all.
func Start(tb testing.TB, o Options) *Services {
	tb.Helper()
	install(tb)
	return started(tb, &Services{options: o})
}

// StartMetastore starts a Hive Metastore of a version, 2.3, 3.1 or 4.0, that ends with tb: 2.3 and 4.0 as processes of
// their own, 3.1 with an HDFS. What is given is its address, and the process: its HDFS is that of o.On or none,
// and its only commands are database NAME [URL], stop and kill. Of o, Dir, Keep, Conf, Kerberos and On count.
func StartMetastore(tb testing.TB, version string, o Options) (address string, s *Services) {
	tb.Helper()
	install(tb)
	switch {
	case version == "3.1" && o.On == nil:
		o.Metastore = true
		s = Start(tb, o)
	case version == "2.3" || version == "4.0":
		if o.Kerberos && (o.On == nil || o.On.Realm == "") {
			tb.Fatal("a metastore with Kerberos works on an HDFS with Kerberos: Options.On")
		}
		s = started(tb, &Services{options: o, version: version})
	default:
		tb.Fatalf("there is no metastore %s for these options", version)
	}
	return s.Metastore, s
}

// started starts s, and ends it with tb.
func started(tb testing.TB, s *Services) *Services {
	tb.Helper()
	if s.options.Dir == "" {
		s.options.Dir = tb.TempDir()
	}
	s.Dir = s.options.Dir
	if err := s.launch(s.options.Keep); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if tb.Failed() {
			tb.Logf("the services' last words:\n%s", s.Log())
		}
		s.Close()
	})
	return s
}

// Launch starts services that end with Close, or with this process.
func Launch(o Options) (*Services, error) {
	if installed() == "" {
		return nil, errors.New(missing)
	}
	s := &Services{options: o, Dir: o.Dir}
	if s.Dir == "" {
		dir, err := os.MkdirTemp("", "hupsert-services-")
		if err != nil {
			return nil, err
		}
		s.Dir, s.temp = dir, true
	}
	if err := s.launch(o.Keep); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// launch starts the JVM, anew where another process has taken a port that was free when it was chosen.
func (s *Services) launch(keep bool) error {
	dir, err := filepath.Abs(s.Dir)
	if err != nil {
		return err
	}
	program, args := "cluster", s.clusterArguments()
	if s.version != "" {
		program, args = "metastore-"+s.version, s.metastoreArguments()
	}
	args = append(args, "--dir", dir)
	if keep {
		args = append(args, "--keep")
	}
	for key, value := range s.options.Conf {
		args = append(args, "-D"+key+"="+value)
	}
	for attempt := 1; ; attempt++ {
		j, err := startJVM(s.Dir, program, args...)
		if err == nil {
			s.jvm = j
			return s.learn(j.said)
		}
		if attempt == 3 || !errors.Is(err, errPortTaken) {
			return err
		}
		if !keep {
			if err := empty(s.Dir); err != nil {
				return err
			}
		}
	}
}

func (s *Services) clusterArguments() []string {
	o := s.options
	args := []string{"Services", "--datanodes", strconv.Itoa(max(o.Datanodes, 1))}
	if o.Metastore {
		args = append(args, "--metastore", filepath.Join(installed(), "hive-schema-3.1.0.derby.sql"))
	}
	if o.HA {
		args = append(args, "--ha")
	}
	if o.Kerberos {
		args = append(args, "--kerberos")
		if o.Protection != "" {
			args = append(args, "--protection", o.Protection)
		}
	}
	return args
}

func (s *Services) metastoreArguments() []string {
	var args []string
	on := s.options.On
	if s.options.Kerberos {
		args = append(args, "-Djava.security.krb5.conf="+on.KRB5Conf)
	}
	if s.version == "4.0" {
		args = append(args, "Metastore4", "--metastore", filepath.Join(installed(), "hive-schema-4.0.0.derby.sql"))
	} else {
		args = append(args, "Metastore2")
	}
	if on != nil {
		args = append(args, "--conf", on.ConfDir)
	}
	if s.options.Kerberos {
		args = append(args, "--keytab", on.Keytab, "--principal", "hive/localhost@"+on.Realm)
	}
	return args
}

// learn takes over what the services say of themselves.
func (s *Services) learn(said map[string]string) error {
	s.Metastore, s.ConfDir = said["metastore"], said["confdir"]
	s.PID = s.jvm.cmd.Process.Pid
	if s.version == "" {
		s.HDFS, s.Namenodes = said["hdfs"], strings.Split(said["namenodes"], ",")
		s.Realm, s.KRB5Conf, s.Keytab = said["realm"], said["krb5conf"], said["keytab"]
	} else if on := s.options.On; on != nil {
		s.HDFS, s.Namenodes = on.HDFS, on.Namenodes
		s.Realm, s.KRB5Conf, s.Keytab = on.Realm, on.KRB5Conf, on.Keytab
	}
	if s.ConfDir == "" || (s.HDFS == "" && s.Metastore == "") {
		return fmt.Errorf("the services said %v, and not where they are", said)
	}
	return nil
}

// Do has the services carry out a command (testdata/services/Commands.java lists them) and gives its answer, which is
// often empty. tb fails where the command does.
func (s *Services) Do(tb testing.TB, command string) string {
	tb.Helper()
	answer, err := s.Try(command)
	if err != nil {
		tb.Fatal(err)
	}
	return answer
}

// Try is Do for a command that may fail.
func (s *Services) Try(command string) (string, error) {
	return s.jvm.do(command)
}

// Kill ends the services as kill -9 does, and returns when they are gone. Restart, or Start with Keep, goes on with
// their data.
func (s *Services) Kill(tb testing.TB) {
	tb.Helper()
	s.jvm.kill()
}

// Stop ends the services in order. They close none of the files that are open, but the edit log and the database.
func (s *Services) Stop(tb testing.TB) {
	tb.Helper()
	if _, err := s.Try("stop"); err != nil {
		tb.Fatal(err)
	}
	select {
	case <-s.jvm.done:
	case <-time.After(commandTimeout):
		tb.Fatal("the services do not end")
	}
}

// Restart starts services that were killed or stopped again, on their data and their ports. The keytab and krb5.conf
// are new ones.
func (s *Services) Restart(tb testing.TB) {
	tb.Helper()
	s.jvm.kill()
	if err := s.launch(true); err != nil {
		tb.Fatal(err)
	}
}

// Signal sends a signal to the JVM: SIGSTOP makes every service hang, SIGCONT lets them go on.
func (s *Services) Signal(tb testing.TB, signal syscall.Signal) {
	tb.Helper()
	if err := s.jvm.cmd.Process.Signal(signal); err != nil {
		tb.Fatal(err)
	}
}

// Done is closed when the services have ended.
func (s *Services) Done() <-chan struct{} {
	return s.jvm.done
}

// Log is the end of what the services have said.
func (s *Services) Log() string {
	return s.jvm.log()
}

// Close ends the services and removes their data where nobody named the folder.
func (s *Services) Close() {
	if s.jvm != nil {
		s.jvm.kill()
	}
	if s.temp {
		_ = os.RemoveAll(s.Dir) // what is left of a temporary folder harms nobody
	}
}

// Folder makes an empty folder on HDFS, named after the test, which everybody may write to, and gives its path: put it
// behind s.HDFS for the URL.
func (s *Services) Folder(tb testing.TB) string {
	tb.Helper()
	folder := fmt.Sprintf("/test/%s-%d", plain(tb), folders.Add(1))
	s.Do(tb, "mkdir "+folder+" 777")
	return folder
}

// Database makes an empty database in the metastore, named after the test.
func (s *Services) Database(tb testing.TB) string {
	tb.Helper()
	name := fmt.Sprintf("%s_%d", strings.ToLower(plain(tb)), folders.Add(1))
	s.Do(tb, "database "+name)
	return name
}

// plain is the test's name in letters that a path, a URL and a database bear.
func plain(tb testing.TB) string {
	name := regexp.MustCompile(`[^A-Za-z0-9]+`).ReplaceAllString(tb.Name(), "_")
	return name[:min(len(name), 60)]
}

func empty(dir string) error {
	entries, err := os.ReadDir(dir)
	for _, entry := range entries {
		err = errors.Join(err, os.RemoveAll(filepath.Join(dir, entry.Name())))
	}
	return err
}

// shared are the services of Shared.
var shared struct {
	sync.Mutex
	services *Services
	err      error
}

// Shared gives services that all tests of this binary have in common: HDFS with one datanode, and a metastore. The
// first test that asks starts them, Main ends them. Nobody may stop or break them.
func Shared(tb testing.TB) *Services {
	tb.Helper()
	install(tb)
	shared.Lock()
	defer shared.Unlock()
	if shared.services == nil && shared.err == nil {
		shared.services, shared.err = Launch(Options{Metastore: true})
	}
	if shared.err != nil {
		tb.Fatal(shared.err)
	}
	return shared.services
}

// Main runs the tests and ends what Shared has started: servicetest.Main(m) is the whole of a TestMain. What it
// gives is the exit code.
func Main(m *testing.M) int {
	defer func() {
		shared.Lock()
		defer shared.Unlock()
		if shared.services != nil {
			shared.services.Close()
		}
	}()
	return m.Run()
}

const missing = "HUPSERT_SERVICES is not set: HDFS and the Hive Metastore are not installed, or the Makefile was passed by (`make engines` installs them)"

// installed is the folder of the services' jars and classes, empty where there is none.
func installed() string {
	return os.Getenv("HUPSERT_SERVICES")
}

// install skips tb where the services are not installed.
func install(tb testing.TB) {
	tb.Helper()
	if installed() != "" {
		return
	}
	if os.Getenv("HUPSERT_REQUIRE") == "all" {
		tb.Fatal(missing)
	}
	tb.Skip(missing)
}

// environment is this process's without what would lead Hadoop's own code elsewhere.
func environment() []string {
	return slices.DeleteFunc(os.Environ(), func(variable string) bool {
		for _, prefix := range []string{"HADOOP_", "HIVE_", "KRB5", "CLASSPATH="} {
			if strings.HasPrefix(variable, prefix) {
				return true
			}
		}
		return false
	})
}
