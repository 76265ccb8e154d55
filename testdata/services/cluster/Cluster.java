import java.io.File;
import java.io.IOException;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.fs.permission.FsPermission;
import org.apache.hadoop.hdfs.DistributedFileSystem;
import org.apache.hadoop.hdfs.HdfsConfiguration;
import org.apache.hadoop.hdfs.MiniDFSCluster;
import org.apache.hadoop.hdfs.MiniDFSCluster.DataNodeProperties;
import org.apache.hadoop.hdfs.MiniDFSNNTopology;
import org.apache.hadoop.hdfs.server.datanode.DataNode;
import org.apache.hadoop.hdfs.server.namenode.NameNode;

/** The HDFS: one namenode or an HA pair, and its datanodes, as threads of this JVM that speak the real protocols. */
final class Cluster {
  static final String NAMESERVICE = "ns1";

  /** How long a namenode may take to come back; the command that starts it is given up after two minutes. */
  private static final int RESTART_SECONDS = 100;

  private final MiniDFSCluster mini;
  private final boolean ha;
  /** Datanodes by the number they had at the start, with what it takes to start them again. */
  private final List<DataNode> datanodes = new ArrayList<>();
  private final Map<Integer, DataNodeProperties> stopped = new LinkedHashMap<>();

  private Cluster(MiniDFSCluster mini, boolean ha) {
    this.mini = mini;
    this.ha = ha;
    datanodes.addAll(mini.getDataNodes());
  }

  static Cluster start(Settings settings) throws Exception {
    configure(settings);
    HdfsConfiguration conf = settings.over(new HdfsConfiguration());
    MiniDFSCluster.Builder builder = new MiniDFSCluster.Builder(conf, settings.dir)
        .numDataNodes(settings.datanodes)
        .format(!settings.keep)
        .manageNameDfsDirs(true)
        .manageDataDfsDirs(true)
        // Else datanodes get addresses that the security of data transfer refuses.
        .checkDataNodeAddrConfig(true);
    if (settings.ha) {
      builder.nnTopology(new MiniDFSNNTopology().addNameservice(new MiniDFSNNTopology.NSConf(NAMESERVICE)
          .addNN(namenode(settings, "nn1"))
          .addNN(namenode(settings, "nn2"))));
    } else {
      builder.nameNodePort(settings.port("nn1")).nameNodeHttpPort(settings.port("nn1-http"));
    }
    MiniDFSCluster mini = builder.build();
    if (settings.ha) {
      mini.transitionToActive(0);
    }
    mini.waitActive();
    Cluster cluster = new Cluster(mini, settings.ha);
    if (!settings.keep) {
      cluster.makeFolders();
    }
    return cluster;
  }

  private static MiniDFSNNTopology.NNConf namenode(Settings settings, String name) throws IOException {
    return new MiniDFSNNTopology.NNConf(name)
        .setIpcPort(settings.port(name))
        .setHttpPort(settings.port(name + "-http"));
  }

  private static void configure(Settings settings) {
    settings.set("hdfs.minidfs.basedir", settings.dir.getPath());
    settings.set("dfs.permissions.enabled", "true");
    settings.set("fs.permissions.umask-mode", "022");
    settings.set("dfs.replication", Integer.toString(Math.min(3, settings.datanodes)));
    // Tests of files of many blocks shall not need to be large.
    settings.set("dfs.namenode.fs-limits.min-block-size", "0");
    settings.set("dfs.ha.tail-edits.period", "1s");
    // A key store in a file is enough for an encryption zone.
    settings.set("hadoop.security.key.provider.path", "jceks://file" + new File(settings.dir, "keys.jceks").getPath());
    for (String address : List.of("address", "http.address", "ipc.address")) {
      settings.set("dfs.datanode." + address, "127.0.0.1:0");
    }
  }

  /** What an installation has: places for everybody's temporary files and for tables. */
  private void makeFolders() throws IOException {
    DistributedFileSystem fs = fs();
    for (String folder : List.of("/tmp", "/warehouse")) {
      fs.mkdirs(new Path(folder));
      fs.setPermission(new Path(folder), new FsPermission((short) 01777));
    }
    fs.mkdirs(new Path("/user"));
  }

  MiniDFSCluster mini() {
    return mini;
  }

  boolean ha() {
    return ha;
  }

  /** The URL clients use: of the one namenode, or of the pair. */
  String uri() {
    return ha ? "hdfs://" + NAMESERVICE : "hdfs://localhost:" + mini.getNameNodePort(0);
  }

  /** host:port of each namenode. */
  List<String> namenodes() {
    List<String> addresses = new ArrayList<>();
    for (int i = 0; i < mini.getNumNameNodes(); i++) {
      addresses.add("localhost:" + mini.getNameNodePort(i));
    }
    return addresses;
  }

  /** A client of the namenode that is active, with the rights of the superuser. */
  DistributedFileSystem fs() throws IOException {
    return mini.getFileSystem(active());
  }

  int active() throws IOException {
    for (int i = 0; i < mini.getNumNameNodes(); i++) {
      NameNode namenode = mini.getNameNode(i);
      if (namenode != null && namenode.isActiveState()) {
        return i;
      }
    }
    throw new IOException("no namenode is active");
  }

  /**
   * Starts a namenode again, of a pair as standby, and waits until it has left safe mode.
   *
   * <p>A standby reads those edits that the active one has closed, which by itself it does every two minutes. Until then the standby
   * waits for blocks of files that were removed since, which no datanode has any more: so the active one is told to.
   */
  synchronized void startNamenode(int number) throws IOException, InterruptedException {
    mini.restartNameNode(number, false);
    long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(RESTART_SECONDS);
    while (!mini.isNameNodeUp(number)) {
      if (System.nanoTime() > end) {
        throw new IOException("namenode " + number + " is not up after " + RESTART_SECONDS + " s: " + mini.getNamesystem(number).getSafemode());
      }
      closeEdits();
      Thread.sleep(500);
    }
    mini.waitActive();
  }

  /** Has the active one of a pair close what it has written of its edits. */
  private void closeEdits() throws IOException {
    for (int i = 0; ha && i < mini.getNumNameNodes(); i++) {
      NameNode namenode = mini.getNameNode(i);
      if (namenode != null && namenode.isActiveState()) {
        namenode.getRpcServer().rollEditLog();
      }
    }
  }

  synchronized void stopDatanode(int number) throws IOException {
    int place = mini.getDataNodes().indexOf(datanodes.get(number));
    if (place < 0) {
      throw new IOException("datanode " + number + " does not run");
    }
    stopped.put(number, mini.stopDataNode(place));
  }

  /** Starts a datanode on its data and its port, and waits until the namenode knows it. */
  synchronized void startDatanode(int number) throws IOException {
    DataNodeProperties properties = stopped.remove(number);
    if (properties == null) {
      throw new IOException("datanode " + number + " was not stopped");
    }
    mini.restartDataNode(properties, true);
    datanodes.set(number, mini.getDataNodes().get(mini.getDataNodes().size() - 1));
    mini.waitActive();
  }

  /** The numbers of the datanodes that were stopped, in the order in which they were. */
  synchronized List<Integer> stoppedDatanodes() {
    return List.copyOf(stopped.keySet());
  }
}
