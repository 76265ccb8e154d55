package metastore

import (
	"net"
	"strconv"
	"strings"
)

// DefaultPort is where metastores listen.
const DefaultPort = 9083

// Scheme begins the URLs of tables of a metastore.
const Scheme = "hive"

// Address is a table of a metastore, as its URL names it.
type Address struct {
	Hosts    []string // host:port; none: those of hive-site.xml (hive.metastore.uris)
	Database string   // in small letters, as the metastore has it
	Table    string
}

const wantURL = "want hive://HOST[:PORT][,HOST...]/DB.TABLE, or hive:///DB.TABLE with the hosts in hive-site.xml (hive.metastore.uris)"

// ParseURL reads hive://host:9083/db.table, hive://h1,h2:9084/db.table or hive:///db.table.
func ParseURL(url string) (Address, error) {
	scheme, rest, ok := strings.Cut(url, "://")
	if !ok || !strings.EqualFold(scheme, Scheme) {
		return Address{}, fault(ErrUsage, "%s is no URL of a metastore's table", url).hint(wantURL)
	}
	hosts, name, ok := strings.Cut(rest, "/")
	if !ok || name == "" {
		e := fault(ErrUsage, "%s names no table", url).hint(wantURL)
		if strings.Contains(hosts, ".") && !strings.ContainsAny(hosts, ":,") {
			e = e.hint("hive:///%s, if %[1]s is a table, and its metastore that of hive-site.xml", hosts)
		}
		return Address{}, e
	}
	a := Address{}
	var err error
	if hosts != "" {
		if a.Hosts, err = parseHosts(hosts); err != nil {
			return Address{}, err
		}
	}
	a.Database, a.Table, err = parseName(strings.TrimSuffix(name, "/"))
	return a, err
}

// String is the URL again, with every port.
func (a Address) String() string {
	return Scheme + "://" + strings.Join(a.Hosts, ",") + "/" + a.Database + "." + a.Table
}

// parseName takes "db.table" apart. The metastore knows names in small letters.
func parseName(name string) (database, table string, err error) {
	database, table, ok := strings.Cut(name, ".")
	for _, part := range []string{database, table} {
		if !ok || part == "" || strings.ContainsAny(part, "./\\%?#'\"`") || strings.ContainsFunc(part, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
			return "", "", fault(ErrUsage, "%q is no name of a table: want DB.TABLE", name).hint("%s; the database that needs no name is called default", wantURL)
		}
	}
	return strings.ToLower(database), strings.ToLower(table), nil
}

// ParseURIs reads hive.metastore.uris: "thrift://h1:9083,thrift://h2:9083".
func ParseURIs(uris string) ([]string, error) {
	var hosts []string
	for uri := range strings.SplitSeq(uris, ",") {
		uri = strings.TrimSpace(uri)
		if uri == "" {
			continue
		}
		if scheme, rest, ok := strings.Cut(uri, "://"); ok {
			if !strings.EqualFold(scheme, "thrift") {
				return nil, fault(ErrUsage, "hive.metastore.uris: %s: want thrift://HOST:PORT", uri)
			}
			uri = strings.TrimSuffix(rest, "/")
		}
		list, err := parseHosts(uri)
		if err != nil {
			return nil, err
		}
		hosts = append(hosts, list...)
	}
	return hosts, nil
}

// parseHosts reads "h1:9083,h2,[::1]:9084".
func parseHosts(list string) ([]string, error) {
	var hosts []string
	for host := range strings.SplitSeq(list, ",") {
		address, err := parseHost(strings.TrimSpace(host))
		if err != nil {
			return nil, err
		}
		hosts = append(hosts, address)
	}
	return hosts, nil
}

func parseHost(host string) (string, error) {
	bad := func(why string) (string, error) {
		return "", fault(ErrUsage, "metastore %q: %s", host, why).hint(wantURL)
	}
	name, port := host, strconv.Itoa(DefaultPort)
	if strings.HasSuffix(host, "]") { // an IPv6 address without a port
		name = strings.Trim(host, "[]")
	} else if strings.Contains(host, ":") {
		var err error
		if name, port, err = net.SplitHostPort(host); err != nil {
			return bad("want HOST:PORT, or [ADDRESS]:PORT")
		}
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return bad("want a port of 1 to 65535")
	}
	if name == "" || strings.ContainsAny(name, " @/?#%") {
		return bad("want a host's name or address")
	}
	return net.JoinHostPort(name, port), nil
}
