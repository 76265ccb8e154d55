import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.security.PrivilegedExceptionAction;
import java.util.Map;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.hive.metastore.HiveMetaStore.HMSHandler;
import org.apache.hadoop.hive.metastore.IHMSHandler;
import org.apache.hadoop.hive.metastore.RetryingHMSHandler;
import org.apache.hadoop.hive.metastore.TUGIBasedProcessor;
import org.apache.hadoop.hive.metastore.api.Database;
import org.apache.hadoop.hive.metastore.api.ThriftHiveMetastore;
import org.apache.hadoop.hive.metastore.conf.MetastoreConf;
import org.apache.hadoop.hive.metastore.security.HadoopThriftAuthBridge;
import org.apache.hadoop.hive.metastore.security.TUGIContainingTransport;
import org.apache.hadoop.hive.metastore.utils.MetaStoreUtils;
import org.apache.hadoop.security.UserGroupInformation;
import org.apache.thrift.TProcessor;
import org.apache.thrift.server.TThreadPoolServer;
import org.apache.thrift.transport.TServerSocket;
import org.apache.thrift.transport.TTransportFactory;

/**
 * Hive Metastore 3.1 over Derby. Handler and processors are Hive's; only the server's socket is made here, since
 * Hive's own start of this version listens on every interface, and in a JVM with HDFS would log HDFS out of Kerberos.
 */
final class Metastore3 {
  private final IHMSHandler handler;
  private final int port;
  private final String principal;

  private Metastore3(IHMSHandler handler, int port, String principal) {
    this.handler = handler;
    this.port = port;
    this.principal = principal;
  }

  static Metastore3 start(Settings settings, Cluster cluster, Kdc kdc) throws Exception {
    Schema schema = new Schema(settings.dir);
    schema.create(settings.schema);
    settings.metastore(schema);
    Configuration conf = MetastoreConf.newMetastoreConf();
    conf.set("fs.defaultFS", cluster.uri());
    conf.set("metastore.warehouse.dir", cluster.uri() + "/warehouse");
    // The default asks for classes of Hive's query engine.
    conf.set("metastore.expression.proxy", "org.apache.hadoop.hive.metastore.DefaultPartitionExpressionProxy");
    // The second removes the locks of the dead: this version's switch for housekeeping does not start it.
    conf.set("metastore.task.threads.always", "org.apache.hadoop.hive.metastore.events.EventCleanerTask,"
        + "org.apache.hadoop.hive.metastore.txn.AcidHouseKeeperService");
    settings.over(conf);
    IHMSHandler handler = RetryingHMSHandler.getProxy(conf, new HMSHandler("metastore", conf, false), false);

    int port = settings.port("metastore");
    String principal = settings.kerberos ? kdc.principal("hive/localhost") : null;
    TServerSocket socket = new TServerSocket(new InetSocketAddress(InetAddress.getLoopbackAddress(), port));
    TThreadPoolServer.Args server = new TThreadPoolServer.Args(socket);
    if (settings.kerberos) {
      secured(server, handler, conf, principal);
    } else {
      server.processor(new TUGIBasedProcessor<IHMSHandler>(handler)).transportFactory(new TUGIContainingTransport.Factory());
    }
    Thread thread = new Thread(new TThreadPoolServer(server)::serve, "metastore");
    thread.setDaemon(true);
    thread.start();
    return new Metastore3(handler, port, principal);
  }

  /** Thrift over SASL with GSSAPI, as a service principal of its own beside that of HDFS. */
  private static void secured(TThreadPoolServer.Args server, IHMSHandler handler, Configuration conf, String name)
      throws Exception {
    UserGroupInformation service =
        UserGroupInformation.loginUserFromKeytabAndReturnUGI(name, conf.get("dfs.namenode.keytab.file"));
    HadoopThriftAuthBridge.Server bridge =
        service.doAs((PrivilegedExceptionAction<HadoopThriftAuthBridge.Server>) HadoopThriftAuthBridge.Server::new);
    Map<String, String> quality = MetaStoreUtils.getMetaStoreSaslProperties(conf, false);
    TTransportFactory transport = bridge.createTransportFactory(quality);
    TProcessor processor = bridge.wrapProcessor(new ThriftHiveMetastore.Processor<>(handler));
    server.processor(processor).transportFactory(transport);
  }

  int port() {
    return port;
  }

  /** The service's principal, or null where nobody has to prove anything. */
  String principal() {
    return principal;
  }

  void createDatabase(String name, String location) throws Exception {
    handler.create_database(new Database(name, null, location, Map.of()));
  }
}
