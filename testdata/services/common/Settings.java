import java.io.File;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.nio.file.Files;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.ThreadLocalRandom;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.Path;

/** What was asked for on the command line, and the Hadoop settings that servers and clients have in common. */
final class Settings {
  /** The folder everything lies in. With {@link #keep} it holds the data of an earlier run, and its ports. */
  File dir = new File("services");
  boolean keep;
  int datanodes = 1;
  boolean ha;
  boolean kerberos;
  /** The protection of data and calls under Kerberos: authentication, integrity or privacy. */
  String protection = "authentication";
  /** The SQL that makes the metastore's tables in Derby, or null where there shall be no metastore. */
  File schema;
  /** A metastore of its own process: the HADOOP_CONF_DIR of the HDFS it works on, or null: it is a folder here. */
  File conf;
  /** A metastore of its own process under Kerberos: its keytab and principal, or null. */
  File keytab;
  String principal;

  /** Settings that differ from Hadoop's own. Those given with -D come last and win. */
  private final Map<String, String> values = new LinkedHashMap<>();
  private final Map<String, String> given = new HashMap<>();
  private final Properties ports = new Properties();

  static Settings parse(String[] arguments) throws IOException {
    Settings s = new Settings();
    List<String> left = new ArrayList<>(List.of(arguments));
    while (!left.isEmpty()) {
      String word = left.remove(0);
      switch (word) {
        case "--dir" -> s.dir = new File(left.remove(0));
        case "--keep" -> s.keep = true;
        case "--datanodes" -> s.datanodes = Integer.parseInt(left.remove(0));
        case "--ha" -> s.ha = true;
        case "--kerberos" -> s.kerberos = true;
        case "--protection" -> s.protection = left.remove(0);
        case "--conf" -> s.conf = new File(left.remove(0));
        case "--keytab" -> s.keytab = new File(left.remove(0));
        case "--principal" -> s.principal = left.remove(0);
        case "--metastore" -> s.schema = new File(left.remove(0));
        default -> {
          int equals = word.indexOf('=');
          if (!word.startsWith("-D") || equals < 0) {
            throw new IllegalArgumentException("unknown argument " + word);
          }
          s.given.put(word.substring(2, equals), word.substring(equals + 1));
        }
      }
    }
    s.dir = s.dir.getAbsoluteFile();
    Files.createDirectories(s.dir.toPath());
    if (s.keep && s.portsFile().exists()) {
      try (InputStream in = Files.newInputStream(s.portsFile().toPath())) {
        s.ports.load(in);
      }
    }
    return s;
  }

  void set(String key, String value) {
    values.put(key, value);
  }

  /** What was given with -D, or the fallback. */
  String given(String key, String fallback) {
    return given.getOrDefault(key, fallback);
  }

  /** Lays all settings over those that a configuration has. */
  <C extends Configuration> C over(C conf) {
    values.forEach(conf::set);
    given.forEach(conf::set);
    return conf;
  }

  /** Settings of a metastore that are the same in all versions, under the names that all of them know. */
  void metastore(Schema schema) {
    set("javax.jdo.option.ConnectionURL", schema.url());
    set("javax.jdo.option.ConnectionDriverName", "org.apache.derby.jdbc.EmbeddedDriver");
    set("javax.jdo.option.ConnectionUserName", Schema.USER);
    set("javax.jdo.option.ConnectionPassword", Schema.PASSWORD);
    // Locks whose holder has died are removed quickly, so that tests need not wait five minutes.
    set("hive.txn.timeout", "6s");
    set("metastore.txn.timeout", "6s");
    set("hive.timedout.txn.reaper.interval", "2s");
    set("metastore.timedout.txn.reaper.interval", "2s");
    set("metastore.acid.housekeeper.interval", "2s");
  }

  /** The settings of the HDFS that a metastore of its own process works on, or of a folder here. */
  <C extends Configuration> C fileSystem(C configuration) {
    if (conf == null) {
      configuration.set("fs.defaultFS", "file:///");
      set("hive.metastore.warehouse.dir", new File(dir, "warehouse").toURI().toString());
    } else {
      configuration.addResource(new Path(new File(conf, "core-site.xml").toURI()));
      configuration.addResource(new Path(new File(conf, "hdfs-site.xml").toURI()));
      set("hive.metastore.warehouse.dir", configuration.get("fs.defaultFS") + "/warehouse");
    }
    return configuration;
  }

  /** The folder a client takes as its HADOOP_CONF_DIR. */
  File clientFiles() {
    return new File(dir, "conf");
  }

  /**
   * A free port of the loopback interface for one service; under --keep the one it had, since clients and the
   * locations of tables know it. Free ones are looked for below those that outgoing connections are given.
   */
  int port(String service) throws IOException {
    String known = ports.getProperty(service);
    if (known != null) {
      return Integer.parseInt(known);
    }
    for (int tries = 0; tries < 1000; tries++) {
      int port = ThreadLocalRandom.current().nextInt(15000, 32000);
      if (ports.containsValue(Integer.toString(port))) {
        continue;
      }
      try (ServerSocket probe = new ServerSocket()) {
        probe.bind(new InetSocketAddress(InetAddress.getLoopbackAddress(), port));
      } catch (IOException taken) {
        continue;
      }
      ports.setProperty(service, Integer.toString(port));
      try (OutputStream out = Files.newOutputStream(portsFile().toPath())) {
        ports.store(out, null);
      }
      return port;
    }
    throw new IOException("no free port between 15000 and 32000");
  }

  private File portsFile() {
    return new File(dir, "ports.properties");
  }
}
