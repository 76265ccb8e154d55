import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.Paths;
import java.nio.file.StandardCopyOption;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.apache.spark.sql.Column;
import org.apache.spark.sql.DataFrameReader;
import org.apache.spark.sql.DataFrameWriter;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.SparkSession;
import org.apache.spark.sql.functions;

/**
 * One Spark session that carries out a list of tasks, one JSON object a line of the file given as the only argument. The
 * session's start costs more than most tasks, so tests put all they want of Spark into one list.
 *
 * <ul>
 *   <li>copy: {"in": FILE, "out": FILE, "options": {...}}: a Parquet file written anew by parquet-mr, rows in their order
 *   <li>read: {"in": DIR, "out": DIR, "filters": [...]}: a folder read by the vectorised and by the row reader, written to
 *       out/vectorised.parquet and out/rows.parquet, and each filter counted with push-down and without
 * </ul>
 *
 * "conf" of a task holds session settings for its time. Each task answers with one JSON line on standard output that
 * starts with {"task" and lists its faults; anything else is Spark's log.
 */
public final class Engines {
  private static final ObjectMapper JSON = new ObjectMapper();

  public static void main(String[] args) throws Exception {
    SparkSession spark =
        SparkSession.builder()
            .master("local[2]")
            .appName("engines")
            .config("spark.ui.enabled", "false")
            .config("spark.driver.host", "localhost")
            .config("spark.driver.bindAddress", "127.0.0.1")
            .config("spark.sql.adaptive.enabled", "false")
            .config("spark.sql.session.timeZone", "UTC")
            // One input file is one task, in the file's own order: rows must come out as they went in.
            .config("spark.sql.files.maxPartitionBytes", String.valueOf(Long.MAX_VALUE / 4))
            .config("spark.sql.files.minPartitionNum", "1")
            .config("spark.sql.warehouse.dir", Files.createTempDirectory("warehouse").toString())
            .config("spark.hadoop.parquet.page.verify-checksum.enabled", "true")
            .config("spark.hadoop.mapreduce.fileoutputcommitter.marksuccessfuljobs", "false")
            .getOrCreate();
    spark.sparkContext().setLogLevel("ERROR");
    boolean failed = false;
    for (String line : Files.readAllLines(Paths.get(args[0]))) {
      if (line.isBlank()) {
        continue;
      }
      failed |= !answer(spark, line);
    }
    spark.stop();
    System.exit(failed ? 1 : 0);
  }

  /** Carries out one task and prints its answer; a failure is an answer as well, so that the others still run. */
  private static boolean answer(SparkSession spark, String line) throws IOException {
    JsonNode task = JSON.readTree(line);
    String kind = task.get("task").asText();
    String name = task.path("name").asText(kind);
    List<String> faults = new ArrayList<>();
    List<String> set = new ArrayList<>();
    try {
      for (Iterator<Map.Entry<String, JsonNode>> it = task.path("conf").fields(); it.hasNext(); ) {
        Map.Entry<String, JsonNode> c = it.next();
        spark.conf().set(c.getKey(), c.getValue().asText());
        set.add(c.getKey());
      }
      switch (kind) {
        case "copy" -> copy(spark, task);
        case "read" -> read(spark, task, faults);
        default -> faults.add("unknown task " + kind);
      }
    } catch (Exception e) {
      Throwable cause = e;
      StringBuilder message = new StringBuilder(firstLine(e));
      while (cause.getCause() != null && cause.getCause() != cause) {
        cause = cause.getCause();
        message.append(" <- ").append(firstLine(cause));
      }
      faults.add(message.toString());
    } finally {
      set.forEach(spark.conf()::unset);
    }
    Map<String, Object> reply = new LinkedHashMap<>();
    reply.put("task", kind);
    reply.put("name", name);
    reply.put("faults", faults);
    System.out.println(JSON.writeValueAsString(reply));
    System.out.flush();
    return faults.isEmpty();
  }

  /** Spark's messages carry whole stack traces. */
  private static String firstLine(Throwable e) {
    return e.toString().lines().findFirst().orElse("");
  }

  private static void copy(SparkSession spark, JsonNode task) throws IOException {
    Dataset<Row> rows = spark.read().parquet(task.get("in").asText());
    writeOne(rows, task.path("options"), Paths.get(task.get("out").asText()));
  }

  /** Spark writes folders; the one file in it becomes out. */
  private static void writeOne(Dataset<Row> rows, JsonNode options, Path out) throws IOException {
    Path folder = out.resolveSibling("." + out.getFileName() + ".spark");
    DataFrameWriter<Row> writer = rows.coalesce(1).write();
    for (Iterator<Map.Entry<String, JsonNode>> it = options.fields(); it.hasNext(); ) {
      Map.Entry<String, JsonNode> o = it.next();
      writer = writer.option(o.getKey(), o.getValue().asText());
    }
    writer.mode("overwrite").parquet(folder.toString());
    List<Path> written = new ArrayList<>();
    try (Stream<Path> files = Files.list(folder)) {
      files.filter(f -> f.getFileName().toString().endsWith(".parquet")).forEach(written::add);
    }
    if (written.size() != 1) {
      throw new IOException("expected one file in " + folder + ", found " + written.size());
    }
    Files.move(written.get(0), out, StandardCopyOption.REPLACE_EXISTING);
    try (Stream<Path> left = Files.list(folder)) {
      for (Path f : (Iterable<Path>) left::iterator) {
        Files.delete(f);
      }
    }
    Files.delete(folder);
  }

  private static void read(SparkSession spark, JsonNode task, List<String> faults) throws IOException {
    String in = task.get("in").asText();
    Path out = Paths.get(task.get("out").asText());
    for (boolean vectorised : new boolean[] {true, false}) {
      configure(spark, vectorised, true);
      writeOne(
          frame(spark, in),
          JSON.createObjectNode(),
          out.resolve(vectorised ? "vectorised.parquet" : "rows.parquet"));
    }
    for (JsonNode f : task.get("filters")) {
      String filter = f.asText();
      configure(spark, true, false);
      String want = fingerprint(frame(spark, in), filter);
      for (boolean vectorised : new boolean[] {true, false}) {
        configure(spark, vectorised, true);
        String got = fingerprint(frame(spark, in), filter);
        if (!got.equals(want)) {
          faults.add(
              (vectorised ? "vectorised" : "row") + " reader, filter " + filter + ": " + got
                  + " with push-down, " + want + " without");
        }
      }
    }
  }

  private static void configure(SparkSession spark, boolean vectorised, boolean pushdown) {
    spark.conf().set("spark.sql.parquet.enableVectorizedReader", vectorised);
    spark.conf().set("spark.sql.parquet.enableNestedColumnVectorizedReader", vectorised);
    spark.conf().set("spark.sql.parquet.filterPushdown", pushdown);
    // Row groups, dictionaries and pages are filtered by parquet-mr where a filter is pushed down; off, none is.
    spark.conf().set("parquet.filter.stats.enabled", pushdown);
    spark.conf().set("parquet.filter.dictionary.enabled", pushdown);
    spark.conf().set("parquet.filter.columnindex.enabled", pushdown);
    spark.conf().set("parquet.filter.bloom.enabled", pushdown);
    // The row reader's own filter of rows stays off: it would hide rows lost by wrong bounds no more than it finds them.
    spark.conf().set("spark.sql.parquet.recordLevelFilter.enabled", false);
  }

  private static DataFrameReader reader(SparkSession spark) {
    return spark.read().option("recursiveFileLookup", "true").option("mergeSchema", "true");
  }

  private static Dataset<Row> frame(SparkSession spark, String in) {
    return reader(spark).parquet(in);
  }

  /** Rows and an order-free hash of all columns: two results are equal when these are. Maps have no hash and go as JSON. */
  private static String fingerprint(Dataset<Row> rows, String filter) {
    Dataset<Row> kept = rows.where(filter);
    List<Column> columns = new ArrayList<>();
    for (var field : kept.schema().fields()) {
      Column c = functions.col("`" + field.name() + "`");
      String type = field.dataType().catalogString();
      columns.add(type.contains("map<") ? functions.to_json(functions.struct(c)) : c);
    }
    // Hashes are gathered here and not in Spark: a shuffle for a few thousand rows would be most of the time.
    long[] hashes =
        kept.select(functions.xxhash64(columns.toArray(new Column[0]))).collectAsList().stream()
            .mapToLong(r -> r.getLong(0))
            .sorted()
            .toArray();
    return hashes.length + " rows, hash " + Arrays.hashCode(hashes);
  }
}
