import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;

/**
 * A real HDFS and a real Hive Metastore 3.1 in one JVM, on free ports of the loopback interface, with faults by
 * commands on stdin.
 *
 * <pre>
 *   Services --dir DIR [--keep] [--datanodes N] [--ha] [--kerberos [--protection LEVEL]]
 *            [--metastore SCHEMA.sql] [-Dkey=value ...]
 * </pre>
 *
 * Once all of it answers, stdout has lines of key=value (where it is, and where the settings of clients lie), and
 * READY. From then on each line of stdin is a command (see {@link Commands}), each answered by one line: OK and
 * what there is to say, or ERR and the reason. All ends when stdin does: whoever started this and dies leaves nothing.
 */
public final class Services {
  private Services() {}

  public static void main(String[] arguments) throws Exception {
    // Stdout is the answers'. What a library prints goes where its log goes.
    java.io.PrintStream answers = new java.io.PrintStream(System.out, true, StandardCharsets.UTF_8);
    System.setOut(System.err);
    try {
      Settings settings = Settings.parse(arguments);
      Kdc kdc = settings.kerberos ? Kdc.start(settings) : null;
      Cluster cluster = Cluster.start(settings);
      Metastore metastore = settings.schema == null ? null : Metastore.start(settings, cluster, kdc);
      ClientFiles.write(settings, cluster, metastore);

      answers.println("hdfs=" + cluster.uri());
      answers.println("namenodes=" + String.join(",", cluster.namenodes()));
      answers.println("confdir=" + settings.clientFiles());
      if (metastore != null) {
        answers.println("metastore=localhost:" + metastore.port());
      }
      if (kdc != null) {
        answers.println("realm=" + kdc.realm());
        answers.println("krb5conf=" + kdc.configuration());
        answers.println("keytab=" + kdc.keytab());
      }
      answers.println("READY");
      obey(new Commands(cluster, metastore, kdc), answers);
    } catch (Throwable e) {
      // Threads that are not daemons are about: without an exit the JVM would hang where it can't start.
      e.printStackTrace();
      Runtime.getRuntime().halt(1);
    }
    // Data is left as a crash leaves it, which is what a restart on it must bear anyway.
    Runtime.getRuntime().halt(0);
  }

  private static void obey(Commands commands, java.io.PrintStream answers) throws Exception {
    BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    for (String line; (line = in.readLine()) != null; ) {
      // Words are parted by tabs where there is one, so that a path may hold spaces.
      String[] words = line.indexOf('\t') >= 0 ? line.split("\t") : line.trim().split("\\s+");
      String answer;
      try {
        answer = "OK " + commands.run(words[0], Arrays.copyOfRange(words, 1, words.length));
      } catch (Throwable e) {
        answer = "ERR " + e;
      }
      answers.println(answer.replace('\n', ' ').replace('\r', ' ').stripTrailing());
      if (words[0].equals("stop")) {
        return;
      }
    }
  }
}
