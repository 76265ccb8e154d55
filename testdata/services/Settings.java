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
