import java.io.File;
import java.io.IOException;
import java.util.Properties;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.minikdc.MiniKdc;
import org.apache.hadoop.security.UserGroupInformation;
import org.apache.kerby.KOptions;
import org.apache.kerby.kerberos.kerb.client.KrbClient;
import org.apache.kerby.kerberos.kerb.client.KrbOption;
import org.apache.kerby.kerberos.kerb.type.ticket.TgtTicket;

/** A Kerberos realm: services and two users, all keys in one keytab, and this JVM logged in as HDFS's superuser. */
final class Kdc {
  private static final String[] PRINCIPALS = {"hdfs/localhost", "HTTP/localhost", "hive/localhost", "alice", "bob"};

  private final MiniKdc kdc;
  private final File keytab;

  private Kdc(MiniKdc kdc, File keytab) {
    this.kdc = kdc;
    this.keytab = keytab;
  }

  static Kdc start(Settings settings) throws Exception {
    File dir = new File(settings.dir, "kdc");
    Properties properties = MiniKdc.createConf();
    for (String name : properties.stringPropertyNames()) {
      properties.setProperty(name, settings.given(name, properties.getProperty(name)));
    }
    properties.setProperty(MiniKdc.KDC_BIND_ADDRESS, "127.0.0.1");
    properties.setProperty(MiniKdc.KDC_PORT, Integer.toString(settings.port("kdc")));
    properties.setProperty(MiniKdc.TRANSPORT, "TCP");
    MiniKdc mini = new MiniKdc(properties, dir);
    mini.start();
    Kdc kdc = new Kdc(mini, new File(dir, "all.keytab"));
    // The realm is in memory: a restart has new keys, and so must the keytab.
    if (kdc.keytab.exists() && !kdc.keytab.delete()) {
      throw new IOException("can't remove " + kdc.keytab);
    }
    mini.createPrincipal(kdc.keytab, PRINCIPALS);
    kdc.configure(settings);
    UserGroupInformation.setConfiguration(settings.over(new Configuration()));
    UserGroupInformation.loginUserFromKeytab(kdc.principal("hdfs/localhost"), kdc.keytab.getPath());
    return kdc;
  }

  private void configure(Settings settings) {
    settings.set("hadoop.security.authentication", "kerberos");
    settings.set("hadoop.security.authorization", "true");
    settings.set("hadoop.rpc.protection", settings.protection);
    settings.set("dfs.data.transfer.protection", settings.protection);
    settings.set("dfs.block.access.token.enable", "true");
    // Else datanodes demand ports that only root may listen on.
    settings.set("ignore.secure.ports.for.testing", "true");
    for (String node : new String[] {"namenode", "datanode"}) {
      settings.set("dfs." + node + ".kerberos.principal", principal("hdfs/localhost"));
      settings.set("dfs." + node + ".keytab.file", keytab.getPath());
    }
    settings.set("dfs.web.authentication.kerberos.principal", principal("HTTP/localhost"));
    settings.set("dfs.web.authentication.kerberos.keytab", keytab.getPath());
    // The metastore works on HDFS in the name of its callers.
    for (String user : new String[] {"hdfs", "hive"}) {
      settings.set("hadoop.proxyuser." + user + ".hosts", "*");
      settings.set("hadoop.proxyuser." + user + ".groups", "*");
    }
  }

  String principal(String name) {
    return name + "@" + realm();
  }

  String realm() {
    return kdc.getRealm();
  }

  File configuration() {
    return kdc.getKrb5conf();
  }

  File keytab() {
    return keytab;
  }

  /** What kinit does: a ticket of so many seconds into a credentials cache. */
  void kinit(String name, File cache, int seconds) throws Exception {
    KrbClient client = new KrbClient(configuration().getParentFile());
    client.setKdcRealm(realm());
    client.setKdcHost("127.0.0.1");
    client.setKdcTcpPort(kdc.getPort());
    client.setAllowUdp(false);
    client.init();
    KOptions options = new KOptions();
    options.add(KrbOption.CLIENT_PRINCIPAL, principal(name));
    options.add(KrbOption.USE_KEYTAB, true);
    options.add(KrbOption.KEYTAB_FILE, keytab);
    options.add(KrbOption.LIFE_TIME, seconds);
    TgtTicket ticket = client.requestTgt(options);
    client.storeTicket(ticket, cache);
  }
}
