import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.util.Map;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.hive.conf.HiveConf;
import org.apache.hadoop.hive.metastore.HiveMetaStore.HMSHandler;
import org.apache.hadoop.hive.metastore.IHMSHandler;
import org.apache.hadoop.hive.metastore.MetaStoreUtils;
import org.apache.hadoop.hive.metastore.RetryingHMSHandler;
import org.apache.hadoop.hive.metastore.TUGIBasedProcessor;
import org.apache.hadoop.hive.metastore.api.Database;
import org.apache.hadoop.hive.metastore.api.ThriftHiveMetastore;
import org.apache.hadoop.hive.metastore.txn.TxnDbUtil;
import org.apache.hadoop.hive.metastore.txn.TxnStore;
import org.apache.hadoop.hive.metastore.txn.TxnUtils;
import org.apache.hadoop.hive.thrift.HadoopThriftAuthBridge;
import org.apache.hadoop.hive.thrift.TUGIContainingTransport;
import org.apache.hadoop.security.UserGroupInformation;
import org.apache.thrift.server.TThreadPoolServer;
import org.apache.thrift.transport.TServerSocket;

/**
 * Hive Metastore 2.3 over Derby, of the jars that Spark brings. Handler and processors are Hive's; the server's socket
 * is made here, since Hive's own start of this version listens on every interface.
 *
 * <pre>
 *   Metastore2 --dir DIR [--keep] [--conf HADOOP_CONF_DIR] [--keytab FILE --principal NAME] [-Dkey=value ...]
 * </pre>
 */
public final class Metastore2 {
  private Metastore2() {}

  public static void main(String[] arguments) {
    Console.main(console -> start(Settings.parse(arguments), console));
  }

  private static Console.Interpreter start(Settings settings, Console console) throws Exception {
    HiveConf conf = configuration(settings);
    if (settings.principal != null) {
      UserGroupInformation.setConfiguration(conf);
      UserGroupInformation.loginUserFromKeytab(settings.principal, settings.keytab.getPath());
    }
    IHMSHandler handler = RetryingHMSHandler.getProxy(conf, new HMSHandler("metastore", conf, false), false);
    if (!lockTables(conf)) {
      TxnDbUtil.prepDb(conf);
    }
    expireLocks(conf);

    int port = settings.port("metastore");
    TServerSocket socket = new TServerSocket(new InetSocketAddress(InetAddress.getLoopbackAddress(), port));
    TThreadPoolServer.Args server = new TThreadPoolServer.Args(socket);
    if (settings.principal != null) {
      HadoopThriftAuthBridge.Server bridge = new HadoopThriftAuthBridge.Server();
      server.processor(bridge.wrapProcessor(new ThriftHiveMetastore.Processor<>(handler)))
          .transportFactory(bridge.createTransportFactory(MetaStoreUtils.getMetaStoreSaslProperties(conf)));
    } else {
      server.processor(new TUGIBasedProcessor<IHMSHandler>(handler)).transportFactory(new TUGIContainingTransport.Factory());
    }
    Thread thread = new Thread(new TThreadPoolServer(server)::serve, "metastore");
    thread.setDaemon(true);
    thread.start();

    ClientFiles files = new ClientFiles(settings);
    if (settings.conf != null) {
      files.copy(settings.conf);
    }
    files.hive(port, settings.principal);
    console.say("metastore", "localhost:" + port);
    console.say("confdir", settings.clientFiles());
    return (name, words) -> command(name, words, handler);
  }

  private static HiveConf configuration(Settings settings) {
    settings.metastore(new Schema(settings.dir));
    settings.set("javax.jdo.option.ConnectionURL", new Schema(settings.dir).url() + ";create=true");
    HiveConf conf = settings.fileSystem(new HiveConf(new Configuration(), Metastore2.class));
    // No distribution has this version's SQL for Derby: the tables are made from the classes.
    settings.set("datanucleus.schema.autoCreateAll", "true");
    settings.set("hive.metastore.schema.verification", "false");
    settings.set("hive.metastore.sasl.enabled", Boolean.toString(settings.principal != null));
    return settings.over(conf);
  }

  /** Whether the tables of locks are there, which are none of those that come by themselves. */
  private static boolean lockTables(HiveConf conf) throws SQLException {
    try (Connection connection = DriverManager.getConnection(conf.get("javax.jdo.option.ConnectionURL"), Schema.USER, Schema.PASSWORD);
        ResultSet tables = connection.getMetaData().getTables(null, null, "HIVE_LOCKS", null)) {
      return tables.next();
    }
  }

  /** Removes the locks of the dead, as a thread of Hive's query engine would. */
  private static void expireLocks(HiveConf conf) {
    TxnStore store = TxnUtils.getTxnStore(conf);
    Thread thread = new Thread(() -> {
      while (true) {
        store.performTimeOuts();
        try {
          Thread.sleep(2000);
        } catch (InterruptedException e) {
          return;
        }
      }
    }, "locks");
    thread.setDaemon(true);
    thread.start();
  }

  private static String command(String name, String[] words, IHMSHandler handler) throws Exception {
    switch (name) {
      case "database" -> handler.create_database(new Database(words[0], null, words.length > 1 ? words[1] : null, Map.of()));
      case "stop" -> Schema.close();
      case "kill" -> Runtime.getRuntime().halt(137);
      default -> throw new IllegalArgumentException("no such command: " + name);
    }
    return "";
  }
}
