package hadoop

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// Conf is the settings of a Hadoop installation. The zero value has none: every name is then what the URL says.
type Conf struct {
	// Dir is the folder they were read from, "" where there was none.
	Dir    string
	values map[string]string
}

// Of makes settings of names and values.
func Of(values map[string]string) Conf { return Conf{values: values} }

// Load reads core-site.xml, hdfs-site.xml and hive-site.xml of HADOOP_CONF_DIR, else of HADOOP_HOME's etc/hadoop or
// conf, and hive-site.xml of HIVE_CONF_DIR. Without those variables there are no settings, and no error.
func Load() (Conf, error) {
	var c Conf
	switch dir, home := os.Getenv("HADOOP_CONF_DIR"), os.Getenv("HADOOP_HOME"); {
	case dir != "":
		if _, err := os.Stat(dir); err != nil {
			return Conf{}, fmt.Errorf("HADOOP_CONF_DIR: %w", err)
		}
		c.Dir = dir
	case home != "":
		for _, below := range []string{"etc/hadoop", "conf"} {
			if _, err := os.Stat(filepath.Join(home, below, "core-site.xml")); err == nil {
				c.Dir = filepath.Join(home, below)
				break
			}
		}
	}
	dirs := []string{c.Dir, c.Dir, c.Dir, os.Getenv("HIVE_CONF_DIR")}
	for i, name := range []string{"core-site.xml", "hdfs-site.xml", "hive-site.xml", "hive-site.xml"} {
		if dirs[i] == "" {
			continue
		}
		if err := c.read(filepath.Join(dirs[i], name), 0); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return Conf{}, err
		}
	}
	return c, nil
}

// configuration is a file of settings.
type configuration struct {
	Properties []struct {
		Name  string `xml:"name"`
		Value string `xml:"value"`
	} `xml:"property"`
	Includes []struct {
		Href string `xml:"href,attr"`
	} `xml:"include"`
}

// maxIncludes is how deep files may include others.
const maxIncludes = 8

func (c *Conf) read(name string, depth int) error {
	data, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	var found configuration
	if err := xml.Unmarshal(data, &found); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	for _, i := range found.Includes {
		if depth == maxIncludes {
			return fmt.Errorf("%s: files that include each other", name)
		}
		href := strings.TrimPrefix(i.Href, "file://")
		if !filepath.IsAbs(href) {
			href = filepath.Join(filepath.Dir(name), href)
		}
		if err := c.read(href, depth+1); err != nil {
			return fmt.Errorf("%s includes %s", name, err) //nolint:errorlint // that it is not there must not be taken for the file's own absence
		}
	}
	if c.values == nil {
		c.values = map[string]string{}
	}
	for _, p := range found.Properties {
		c.values[strings.TrimSpace(p.Name)] = strings.TrimSpace(p.Value)
	}
	return nil
}

// maxExpansions is how many variables one value may take, as Hadoop has it.
const maxExpansions = 20

// variable is a reference to another setting, or to the environment.
var variable = regexp.MustCompile(`\$\{[^}$\s]+\}`)

// Get gives a setting, "" where there is none. ${name} in it stands for another setting, ${env.NAME} for a variable of
// the environment; what is not known stays as it is.
func (c Conf) Get(name string) string {
	value := c.values[name]
	for range maxExpansions {
		at := variable.FindStringIndex(value)
		if at == nil {
			break
		}
		with, known := c.resolve(value[at[0]+2 : at[1]-1])
		if !known {
			break
		}
		value = value[:at[0]] + with + value[at[1]:]
	}
	return value
}

func (c Conf) resolve(name string) (string, bool) {
	if of, ok := strings.CutPrefix(name, "env."); ok {
		return os.LookupEnv(of)
	}
	if name == "user.name" {
		return osUser(), true
	}
	value, ok := c.values[name]
	return value, ok
}

// Is reports whether a setting has a value, in any case of letters.
func (c Conf) Is(name, value string) bool { return strings.EqualFold(c.Get(name), value) }
