import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.hive.metastore.HiveMetaStore;
import org.apache.hadoop.hive.metastore.HiveMetaStoreClient;
import org.apache.hadoop.hive.metastore.api.Database;
import org.apache.hadoop.hive.metastore.conf.MetastoreConf;
import org.apache.hadoop.hive.metastore.security.HadoopThriftAuthBridge;
import org.apache.hadoop.security.UserGroupInformation;

/**
 * Hive Metastore 4.0 over Derby, as Hive starts it.
 *
 * <pre>
 *   Metastore4 --dir DIR [--keep] --metastore SCHEMA.sql [--conf HADOOP_CONF_DIR] [--keytab FILE --principal NAME]
 *              [-Dkey=value ...]
 * </pre>
 */
public final class Metastore4 {
  private Metastore4() {}

  public static void main(String[] arguments) {
    Console.main(console -> start(Settings.parse(arguments), console));
  }

  private static Console.Interpreter start(Settings settings, Console console) throws Exception {
    Schema schema = new Schema(settings.dir);
    schema.create(settings.schema);
    settings.metastore(schema);
    Configuration conf = settings.fileSystem(MetastoreConf.newMetastoreConf());
    settings.set("metastore.thrift.bind.host", "127.0.0.1");
    // The default asks for classes of Hive's query engine, and so do other tasks than these.
    settings.set("metastore.expression.proxy", "org.apache.hadoop.hive.metastore.DefaultPartitionExpressionProxy");
    settings.set("metastore.task.threads.always", "org.apache.hadoop.hive.metastore.events.EventCleanerTask");
    settings.set("metastore.housekeeping.threads.on", "true");
    settings.set("metastore.housekeeping.leader.election", "host");
    if (settings.principal != null) {
      settings.set("metastore.sasl.enabled", "true");
      settings.set("hive.metastore.sasl.enabled", "true");
      settings.set("metastore.kerberos.principal", settings.principal);
      settings.set("metastore.kerberos.keytab.file", settings.keytab.getPath());
    }
    settings.over(conf);
    // Else it is looked for in files that the class path does not have.
    UserGroupInformation.setConfiguration(conf);

    int port = settings.port("metastore");
    Thread thread = new Thread(() -> {
      try {
        HiveMetaStore.startMetaStore(port, HadoopThriftAuthBridge.getBridge(), conf);
      } catch (Throwable e) {
        e.printStackTrace();
      }
    }, "metastore");
    thread.setDaemon(true);
    thread.start();
    Console.awaitPort(port, thread);

    ClientFiles files = new ClientFiles(settings);
    if (settings.conf != null) {
      files.copy(settings.conf);
    }
    files.hive(port, settings.principal);
    console.say("metastore", "localhost:" + port);
    console.say("confdir", settings.clientFiles());
    return (name, words) -> command(name, words, port, conf);
  }

  private static String command(String name, String[] words, int port, Configuration conf) throws Exception {
    switch (name) {
      case "database" -> {
        Configuration client = new Configuration(conf);
        client.set("metastore.thrift.uris", "thrift://localhost:" + port);
        try (HiveMetaStoreClient metastore = new HiveMetaStoreClient(client)) {
          metastore.createDatabase(new Database(words[0], null, words.length > 1 ? words[1] : null, java.util.Map.of()));
        }
      }
      case "stop" -> Schema.close();
      case "kill" -> Runtime.getRuntime().halt(137);
      default -> throw new IllegalArgumentException("no such command: " + name);
    }
    return "";
  }
}
