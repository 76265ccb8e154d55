import java.io.File;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.file.Files;
import java.nio.file.StandardCopyOption;
import java.util.List;
import org.apache.hadoop.conf.Configuration;

/** core-site.xml, hdfs-site.xml and hive-site.xml as an installation gives them to its clients. */
final class ClientFiles {
  private final Settings settings;

  ClientFiles(Settings settings) throws IOException {
    this.settings = settings;
    Files.createDirectories(settings.clientFiles().toPath());
  }

  void core(String fileSystem) throws IOException {
    Configuration core = take("hadoop.security.authentication", "hadoop.security.authorization", "hadoop.rpc.protection");
    core.set("fs.defaultFS", fileSystem);
    save(core, "core-site.xml");
  }

  /** The nameservice is null where there is but one namenode. */
  void hdfs(String nameservice, List<String> namenodes) throws IOException {
    Configuration hdfs = take("dfs.replication", "dfs.blocksize", "dfs.data.transfer.protection",
        "dfs.encrypt.data.transfer", "dfs.namenode.kerberos.principal", "dfs.datanode.kerberos.principal",
        "dfs.block.access.token.enable");
    if (nameservice != null) {
      hdfs.set("dfs.nameservices", nameservice);
      hdfs.set("dfs.ha.namenodes." + nameservice, "nn1,nn2");
      for (int i = 0; i < namenodes.size(); i++) {
        hdfs.set("dfs.namenode.rpc-address." + nameservice + ".nn" + (i + 1), namenodes.get(i));
      }
      hdfs.set("dfs.client.failover.proxy.provider." + nameservice,
          "org.apache.hadoop.hdfs.server.namenode.ha.ConfiguredFailoverProxyProvider");
    }
    save(hdfs, "hdfs-site.xml");
  }

  /** The port is 0 where there is no metastore, the principal null where nobody has to prove who he is. */
  void hive(int port, String principal) throws IOException {
    Configuration hive = new Configuration(false);
    if (port != 0) {
      hive.set("hive.metastore.uris", "thrift://localhost:" + port);
      hive.set("hive.metastore.sasl.enabled", Boolean.toString(principal != null));
    }
    if (principal != null) {
      hive.set("hive.metastore.kerberos.principal", principal);
    }
    save(hive, "hive-site.xml");
  }

  /** Takes over what clients of the HDFS know that a metastore works on. */
  void copy(File from) throws IOException {
    for (String name : List.of("core-site.xml", "hdfs-site.xml")) {
      Files.copy(new File(from, name).toPath(), new File(settings.clientFiles(), name).toPath(), StandardCopyOption.REPLACE_EXISTING);
    }
  }

  private Configuration take(String... keys) {
    Configuration all = settings.over(new Configuration(false));
    Configuration some = new Configuration(false);
    for (String key : keys) {
      if (all.get(key) != null) {
        some.set(key, all.get(key));
      }
    }
    return some;
  }

  private void save(Configuration conf, String name) throws IOException {
    try (OutputStream out = Files.newOutputStream(new File(settings.clientFiles(), name).toPath())) {
      conf.writeXml(out);
    }
  }
}
