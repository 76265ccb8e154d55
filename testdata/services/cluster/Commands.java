import java.io.File;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.nio.file.Files;
import java.security.DigestInputStream;
import java.security.MessageDigest;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.HexFormat;
import java.util.List;
import org.apache.hadoop.crypto.key.KeyProvider;
import org.apache.hadoop.fs.ContentSummary;
import org.apache.hadoop.fs.FileStatus;
import org.apache.hadoop.fs.FileUtil;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.fs.RemoteIterator;
import org.apache.hadoop.fs.permission.AclEntry;
import org.apache.hadoop.fs.permission.FsPermission;
import org.apache.hadoop.hdfs.DistributedFileSystem;
import org.apache.hadoop.hdfs.client.CreateEncryptionZoneFlag;
import org.apache.hadoop.hdfs.client.HdfsAdmin;
import org.apache.hadoop.hdfs.protocol.HdfsConstants.SafeModeAction;
import org.apache.hadoop.hdfs.protocol.LocatedBlock;
import org.apache.hadoop.hdfs.protocol.OpenFileEntry;
import org.apache.hadoop.hdfs.server.namenode.FSNamesystem;

/**
 * The commands, each a line. All act with the superuser's rights. Lists come parted by tabs.
 *
 * <pre>
 *   stopdn I                a datanode (numbered from 0, as at the start) goes down; its number stays
 *   startdn [I]             it comes back on its data; without a number the one that went first
 *   stopnn I, startnn I     a namenode goes down, and comes back; of a pair as standby
 *   active I, standby I     which namenode of a pair serves; fail over = standby of one, active of the other
 *   stopms, startms         the metastore goes down, breaking connections, and comes back
 *   hang MS                 the active namenode takes calls and answers none for so many milliseconds
 *   safemode enter|leave|get
 *   lease SOFT_MS HARD_MS   how long a lease lasts that nobody renews
 *   leases [DIR]            files that are open for writing, with who writes: "/path holder"
 *   quota DIR NAMES BYTES   -1 takes a limit away
 *   ec DIR POLICY           a directory whose files are erasure coded
 *   mkzone DIR KEY          an encryption zone; its directory is empty
 *   mkdir PATH [MODE]       with its parents; the mode, of octal digits, is of PATH alone
 *   rm PATH                 with all in it
 *   put PATH BYTES          a file of so many bytes: byte i is (i * 31) >> 3
 *   putfile LOCAL PATH      a file of this machine; one that is there is replaced
 *   chmod PATH MODE, chown PATH OWNER GROUP
 *   acl PATH [SPEC]         sets entries (user:alice:rwx,...) if any are given; says those that are there
 *   rmacl PATH              takes all extended entries away
 *   replication PATH N
 *   stat PATH               kind, length, mode, owner, group, replication, block size, id
 *   ls DIR                  names, sorted
 *   count PATH              directories, files, bytes
 *   md5 PATH                of the content, as the Java client reads it
 *   checksum PATH           HDFS's own checksum of a file
 *   corrupt PATH            damages all replicas of a file's blocks on the datanodes' disks
 *   database NAME [URL]     a database in the metastore
 *   kinit USER CACHE SECONDS  a ticket into a credentials cache
 *   rss                     the memory of this JVM
 *   stop                    the end, in order
 *   kill                    as kill -9 does
 * </pre>
 */
final class Commands {
  private final Cluster cluster;
  private final Metastore3 metastore;
  private final Kdc kdc;

  Commands(Cluster cluster, Metastore3 metastore, Kdc kdc) {
    this.cluster = cluster;
    this.metastore = metastore;
    this.kdc = kdc;
  }

  String run(String name, String[] w) throws Exception {
    String answer = node(name, w);
    if (answer == null) {
      answer = file(name, w);
    }
    if (answer == null) {
      throw new IllegalArgumentException("no such command: " + name);
    }
    return answer;
  }

  /** Commands about services. Null: it is none of them. */
  private String node(String name, String[] w) throws Exception {
    switch (name) {
      case "stopdn" -> cluster.stopDatanode(Integer.parseInt(w[0]));
      case "startdn" -> cluster.startDatanode(w.length > 0 ? Integer.parseInt(w[0]) : firstStopped());
      case "stopnn" -> cluster.mini().shutdownNameNode(Integer.parseInt(w[0]));
      case "startnn" -> cluster.startNamenode(Integer.parseInt(w[0]));
      case "active" -> cluster.mini().transitionToActive(Integer.parseInt(w[0]));
      case "standby" -> cluster.mini().transitionToStandby(Integer.parseInt(w[0]));
      case "stopms" -> metastore.shut();
      case "startms" -> metastore.serve();
      case "hang" -> hang(Long.parseLong(w[0]));
      case "safemode" -> {
        return "" + fs().setSafeMode(SafeModeAction.valueOf("SAFEMODE_" + w[0].toUpperCase()));
      }
      case "lease" -> cluster.mini().setLeasePeriod(Long.parseLong(w[0]), Long.parseLong(w[1]));
      case "leases" -> {
        return leases(w.length > 0 ? w[0] : "/");
      }
      case "database" -> metastore.createDatabase(w[0], w.length > 1 ? w[1] : null);
      case "kinit" -> kdc.kinit(w[0], new File(w[1]), Integer.parseInt(w[2]));
      case "rss" -> {
        return Files.readAllLines(java.nio.file.Path.of("/proc/self/status")).stream()
            .filter(line -> line.startsWith("VmRSS")).findFirst().orElse("unknown");
      }
      case "stop" -> {
        // Data stays; the first argument is of its removal.
        cluster.mini().shutdown(false, false);
        if (metastore != null) {
          Schema.close();
        }
      }
      case "kill" -> Runtime.getRuntime().halt(137);
      default -> {
        return null;
      }
    }
    return "";
  }

  /** Commands about files and folders. Null: it is none of them. */
  private String file(String name, String[] w) throws Exception {
    Path path = w.length > 0 ? new Path(name.equals("putfile") ? w[1] : w[0]) : null;
    switch (name) {
      case "quota" -> fs().setQuota(path, Long.parseLong(w[1]), Long.parseLong(w[2]));
      case "ec" -> {
        fs().enableErasureCodingPolicy(w[1]);
        fs().mkdirs(path);
        fs().setErasureCodingPolicy(path, w[1]);
      }
      case "mkzone" -> encryptionZone(path, w[1]);
      case "mkdir" -> {
        fs().mkdirs(path);
        if (w.length > 1) {
          fs().setPermission(path, mode(w[1]));
        }
      }
      case "rm" -> fs().delete(path, true);
      case "put" -> put(path, Long.parseLong(w[1]));
      case "putfile" -> {
        if (!FileUtil.copy(new File(w[0]), fs(), path, false, fs().getConf())) {
          throw new IOException("not copied: " + w[0]);
        }
      }
      case "chmod" -> fs().setPermission(path, mode(w[1]));
      case "chown" -> fs().setOwner(path, w[1], w[2]);
      case "acl" -> {
        if (w.length > 1) {
          fs().modifyAclEntries(path, AclEntry.parseAclSpec(w[1], true));
        }
        List<String> entries = new ArrayList<>();
        fs().getAclStatus(path).getEntries().forEach(entry -> entries.add(entry.toString()));
        return String.join(",", entries);
      }
      case "rmacl" -> fs().removeAcl(path);
      case "corrupt" -> {
        for (LocatedBlock block : fs().getClient().getLocatedBlocks(w[0], 0, Long.MAX_VALUE).getLocatedBlocks()) {
          cluster.mini().corruptBlockOnDataNodes(block.getBlock());
        }
      }
      case "replication" -> fs().setReplication(path, Short.parseShort(w[1]));
      default -> {
        return look(name, path);
      }
    }
    return "";
  }

  /** Commands that only look. Null: it is none of them. */
  private String look(String name, Path path) throws Exception {
    switch (name) {
      case "stat" -> {
        return status(path);
      }
      case "ls" -> {
        List<String> names = new ArrayList<>();
        for (FileStatus entry : fs().listStatus(path)) {
          names.add(entry.getPath().getName());
        }
        return String.join("\t", names);
      }
      case "count" -> {
        ContentSummary summary = fs().getContentSummary(path);
        return summary.getDirectoryCount() + " " + summary.getFileCount() + " " + summary.getLength();
      }
      case "md5" -> {
        MessageDigest digest = MessageDigest.getInstance("MD5");
        try (InputStream in = new DigestInputStream(fs().open(path), digest)) {
          in.transferTo(OutputStream.nullOutputStream());
        }
        return HexFormat.of().formatHex(digest.digest());
      }
      case "checksum" -> {
        return "" + fs().getFileChecksum(path);
      }
      default -> {
        return null;
      }
    }
  }

  private DistributedFileSystem fs() throws IOException {
    return cluster.fs();
  }

  private static FsPermission mode(String octal) {
    return new FsPermission((short) Integer.parseInt(octal, 8));
  }

  private int firstStopped() throws IOException {
    List<Integer> stopped = cluster.stoppedDatanodes();
    if (stopped.isEmpty()) {
      throw new IOException("all datanodes run");
    }
    return stopped.get(0);
  }

  /** Holds the lock that every call needs; the answer comes once it is held. */
  private void hang(long milliseconds) throws Exception {
    FSNamesystem namesystem = cluster.mini().getNamesystem(cluster.active());
    java.util.concurrent.CountDownLatch held = new java.util.concurrent.CountDownLatch(1);
    Thread thread = new Thread(() -> {
      namesystem.writeLock();
      held.countDown();
      try {
        Thread.sleep(milliseconds);
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
      } finally {
        namesystem.writeUnlock();
      }
    }, "hang");
    thread.setDaemon(true);
    thread.start();
    held.await();
  }

  private String leases(String dir) throws IOException {
    List<String> open = new ArrayList<>();
    for (RemoteIterator<OpenFileEntry> files = fs().listOpenFiles(); files.hasNext(); ) {
      OpenFileEntry file = files.next();
      if (file.getFilePath().equals(dir) || file.getFilePath().startsWith(dir.endsWith("/") ? dir : dir + "/")) {
        open.add(file.getFilePath() + " " + file.getClientName());
      }
    }
    return String.join("\t", open);
  }

  private void encryptionZone(Path path, String key) throws Exception {
    KeyProvider keys = cluster.mini().getNamesystem(cluster.active()).getProvider();
    KeyProvider.Options options = KeyProvider.options(fs().getConf());
    options.setBitLength(128);
    keys.createKey(key, options);
    keys.flush();
    fs().getClient().setKeyProvider((org.apache.hadoop.crypto.key.KeyProviderCryptoExtension) keys);
    fs().mkdirs(path);
    new HdfsAdmin(fs().getUri(), fs().getConf()).createEncryptionZone(path, key, EnumSet.noneOf(CreateEncryptionZoneFlag.class));
  }

  private void put(Path path, long length) throws IOException {
    byte[] buffer = new byte[1 << 16];
    try (OutputStream out = fs().create(path)) {
      for (long done = 0; done < length; ) {
        int n = (int) Math.min(buffer.length, length - done);
        for (int i = 0; i < n; i++) {
          buffer[i] = (byte) ((done + i) * 31 >> 3);
        }
        out.write(buffer, 0, n);
        done += n;
      }
    }
  }

  private String status(Path path) throws IOException {
    FileStatus status = fs().getFileStatus(path);
    String kind = status.isDirectory() ? "directory" : "file";
    long id = ((org.apache.hadoop.hdfs.protocol.HdfsFileStatus) status).getFileId();
    return String.join(" ", kind, "" + status.getLen(), Integer.toOctalString(status.getPermission().toExtendedShort() & 01777),
        status.getOwner(), status.getGroup(), "" + status.getReplication(), "" + status.getBlockSize(), "" + id);
  }
}
