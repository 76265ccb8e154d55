/**
 * A real HDFS and a real Hive Metastore 3.1 in one JVM, on free ports of the loopback interface, with faults by
 * commands on stdin ({@link Console}, {@link Commands}).
 *
 * <pre>
 *   Services --dir DIR [--keep] [--datanodes N] [--ha] [--kerberos [--protection LEVEL]]
 *            [--metastore SCHEMA.sql] [-Dkey=value ...]
 * </pre>
 */
public final class Services {
  private Services() {}

  public static void main(String[] arguments) {
    Console.main(console -> start(Settings.parse(arguments), console));
  }

  private static Console.Interpreter start(Settings settings, Console console) throws Exception {
    Kdc kdc = settings.kerberos ? Kdc.start(settings) : null;
    Cluster cluster = Cluster.start(settings);
    ClientFiles files = new ClientFiles(settings);
    files.core(cluster.uri());
    files.hdfs(cluster.ha() ? Cluster.NAMESERVICE : null, cluster.namenodes());
    Metastore3 metastore = settings.schema == null ? null : Metastore3.start(settings, cluster, kdc);
    files.hive(metastore == null ? 0 : metastore.port(), metastore == null ? null : metastore.principal());

    console.say("hdfs", cluster.uri());
    console.say("namenodes", String.join(",", cluster.namenodes()));
    console.say("confdir", settings.clientFiles());
    if (metastore != null) {
      console.say("metastore", "localhost:" + metastore.port());
    }
    if (kdc != null) {
      console.say("realm", kdc.realm());
      console.say("krb5conf", kdc.configuration());
      console.say("keytab", kdc.keytab());
    }
    return new Commands(cluster, metastore, kdc)::run;
  }
}
