import java.io.File;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.security.PrivilegedExceptionAction;
import java.util.Collections;
import java.util.Map;
import java.util.Set;
import java.util.WeakHashMap;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.Path;
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
import org.apache.thrift.transport.TSocket;
import org.apache.thrift.transport.TTransportException;
import org.apache.thrift.transport.TTransportFactory;

/**
 * Hive Metastore 3.1 over Derby. Handler and processors are Hive's; only the server's socket is made here, since
 * Hive's own start of this version listens on every interface, and in a JVM with HDFS would log HDFS out of Kerberos.
 */
final class Metastore3 {
  private final IHMSHandler handler;
  private final Configuration conf;
  private final int port;
  private final String principal;
  private Listener listener;
  private TThreadPoolServer server;

  private Metastore3(IHMSHandler handler, Configuration conf, int port, String principal) {
    this.handler = handler;
    this.conf = conf;
    this.port = port;
    this.principal = principal;
  }

  static Metastore3 start(Settings settings, Cluster cluster, Kdc kdc) throws Exception {
    Schema schema = new Schema(settings.dir);
    schema.create(settings.schema);
    settings.metastore(schema);
    Configuration conf = MetastoreConf.newMetastoreConf();
    // It is a client of HDFS, which must know whose name a pair of namenodes has.
    conf.addResource(new Path(new File(settings.clientFiles(), "hdfs-site.xml").toURI()));
    conf.set("fs.defaultFS", cluster.uri());
    conf.set("metastore.warehouse.dir", cluster.uri() + "/warehouse");
    // The default asks for classes of Hive's query engine.
    conf.set("metastore.expression.proxy", "org.apache.hadoop.hive.metastore.DefaultPartitionExpressionProxy");
    // The second removes the locks of the dead: this version's switch for housekeeping does not start it.
    conf.set("metastore.task.threads.always", "org.apache.hadoop.hive.metastore.events.EventCleanerTask,"
        + "org.apache.hadoop.hive.metastore.txn.AcidHouseKeeperService");
    settings.over(conf);
    IHMSHandler handler = RetryingHMSHandler.getProxy(conf, new HMSHandler("metastore", conf, false), false);
    String principal = settings.kerberos ? kdc.principal("hive/localhost") : null;
    Metastore3 metastore = new Metastore3(handler, conf, settings.port("metastore"), principal);
    metastore.serve();
    return metastore;
  }

  /** Takes calls, at the start and after {@link #shut}. */
  synchronized void serve() throws Exception {
    if (listener != null) {
      throw new IllegalStateException("the metastore runs");
    }
    Listener opened = new Listener(port);
    TThreadPoolServer.Args args = new TThreadPoolServer.Args(opened);
    if (principal != null) {
      secured(args, handler, conf, principal);
    } else {
      args.processor(new TUGIBasedProcessor<IHMSHandler>(handler)).transportFactory(new TUGIContainingTransport.Factory());
    }
    server = new TThreadPoolServer(args);
    Thread thread = new Thread(server::serve, "metastore");
    thread.setDaemon(true);
    thread.start();
    listener = opened;
  }

  /** Takes no calls, as if it were down, and breaks all connections, also those with a call under way. */
  synchronized void shut() {
    if (listener == null) {
      throw new IllegalStateException("the metastore does not run");
    }
    // Before its socket is closed, which it would else ask for connections again and again.
    server.stop();
    listener.shut();
    listener = null;
  }

  /** A socket of the loopback interface that remembers who came. */
  private static final class Listener extends TServerSocket {
    private final Set<TSocket> connections = Collections.newSetFromMap(new WeakHashMap<>());
    private boolean shut;

    Listener(int port) throws TTransportException {
      super(new InetSocketAddress(InetAddress.getLoopbackAddress(), port));
    }

    @Override
    protected TSocket acceptImpl() throws TTransportException {
      TSocket connection = super.acceptImpl();
      synchronized (connections) {
        connections.add(connection);
        if (shut) {
          connection.close();
        }
      }
      return connection;
    }

    void shut() {
      close();
      synchronized (connections) {
        shut = true;
        connections.forEach(TSocket::close);
      }
    }
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
