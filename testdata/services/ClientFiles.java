import java.io.File;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.file.Files;
import java.util.List;
import org.apache.hadoop.conf.Configuration;

/** core-site.xml, hdfs-site.xml and hive-site.xml as an installation gives them to its clients. */
final class ClientFiles {
  private ClientFiles() {}

  static void write(Settings settings, Cluster cluster, Metastore metastore) throws IOException {
    Configuration all = settings.over(new Configuration(false));
    Files.createDirectories(settings.clientFiles().toPath());

    Configuration core = take(all, List.of("hadoop.security.authentication", "hadoop.security.authorization", "hadoop.rpc.protection"));
    core.set("fs.defaultFS", cluster.uri());
    save(core, settings, "core-site.xml");

    Configuration hdfs = take(all, List.of("dfs.replication", "dfs.blocksize", "dfs.data.transfer.protection",
        "dfs.encrypt.data.transfer", "dfs.namenode.kerberos.principal", "dfs.datanode.kerberos.principal",
        "dfs.block.access.token.enable"));
    if (cluster.ha()) {
      pair(hdfs, cluster);
    }
    save(hdfs, settings, "hdfs-site.xml");

    Configuration hive = new Configuration(false);
    if (metastore != null) {
      hive.set("hive.metastore.uris", "thrift://localhost:" + metastore.port());
      hive.set("hive.metastore.warehouse.dir", cluster.uri() + "/warehouse");
      hive.set("hive.metastore.sasl.enabled", Boolean.toString(metastore.principal() != null));
      if (metastore.principal() != null) {
        hive.set("hive.metastore.kerberos.principal", metastore.principal());
      }
    }
    save(hive, settings, "hive-site.xml");
  }

  private static void pair(Configuration hdfs, Cluster cluster) {
    String service = Cluster.NAMESERVICE;
    hdfs.set("dfs.nameservices", service);
    hdfs.set("dfs.ha.namenodes." + service, "nn1,nn2");
    List<String> addresses = cluster.namenodes();
    for (int i = 0; i < addresses.size(); i++) {
      hdfs.set("dfs.namenode.rpc-address." + service + ".nn" + (i + 1), addresses.get(i));
    }
    hdfs.set("dfs.client.failover.proxy.provider." + service,
        "org.apache.hadoop.hdfs.server.namenode.ha.ConfiguredFailoverProxyProvider");
  }

  private static Configuration take(Configuration all, List<String> keys) {
    Configuration some = new Configuration(false);
    for (String key : keys) {
      String value = all.get(key);
      if (value != null) {
        some.set(key, value);
      }
    }
    return some;
  }

  private static void save(Configuration conf, Settings settings, String name) throws IOException {
    try (OutputStream out = Files.newOutputStream(new File(settings.clientFiles(), name).toPath())) {
      conf.writeXml(out);
    }
  }
}
