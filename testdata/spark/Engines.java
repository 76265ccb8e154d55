import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
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
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.mapreduce.Job;
import org.apache.hadoop.mapreduce.TaskAttemptContext;
import org.apache.hadoop.mapreduce.TaskAttemptID;
import org.apache.hadoop.mapreduce.task.TaskAttemptContextImpl;
import org.apache.parquet.format.converter.ParquetMetadataConverter;
import org.apache.parquet.hadoop.Footer;
import org.apache.spark.paths.SparkPath;
import org.apache.spark.sql.Column;
import org.apache.spark.sql.DataFrameReader;
import org.apache.spark.sql.DataFrameWriter;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.SparkSession;
import org.apache.spark.sql.catalyst.InternalRow;
import org.apache.spark.sql.catalyst.expressions.SpecializedGetters;
import org.apache.spark.sql.catalyst.util.ArrayData;
import org.apache.spark.sql.catalyst.util.MapData;
import org.apache.spark.sql.execution.datasources.OutputWriter;
import org.apache.spark.sql.execution.datasources.PartitionedFile;
import org.apache.spark.sql.execution.datasources.parquet.ParquetFileFormat;
import org.apache.spark.sql.execution.datasources.parquet.ParquetFooterReader;
import org.apache.spark.sql.execution.datasources.parquet.ParquetToSparkSchemaConverter;
import org.apache.spark.sql.functions;
import org.apache.spark.sql.types.ArrayType;
import org.apache.spark.sql.types.BinaryType;
import org.apache.spark.sql.types.BooleanType;
import org.apache.spark.sql.types.DataType;
import org.apache.spark.sql.types.DecimalType;
import org.apache.spark.sql.types.DoubleType;
import org.apache.spark.sql.types.FloatType;
import org.apache.spark.sql.types.MapType;
import org.apache.spark.sql.types.StringType;
import org.apache.spark.sql.types.StructField;
import org.apache.spark.sql.types.StructType;
import org.apache.spark.sql.types.TimestampNTZType;
import org.apache.spark.sql.types.TimestampType;

/**
 * One Spark session that carries out a list of tasks, one JSON object a line of the file given as the only argument, or of
 * standard input for "-". The session's start costs more than most tasks, so tests put all they want of Spark into one list.
 *
 * <ul>
 *   <li>copy: {"in": FILE, "out": FILE, "options": {...}}: a Parquet file written anew by parquet-mr, rows in their order
 *   <li>read: {"in": DIR, "out": DIR, "filters": [...]}: a folder read by the vectorised and by the row reader, written to
 *       out/vectorised.parquet and out/rows.parquet, and each filter counted with push-down and without
 *   <li>merge: {"old": DIR, "changes": DIR, "out": DIR, "key": [...]}: the upsert as it is written in Spark, a full outer join
 *       into a new folder, of the columns that the changes bring; "mode": "delete" leaves out the rows that have a change. The
 *       answer has its seconds
 *   <li>write: as copy, and dump: {"files": [...], "columns": [...], "out": FILE}: files as both readers give them, value by
 *       value, as JSON; both go past Spark's planner, see {@link Direct}
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
    try (BufferedReader tasks =
        args[0].equals("-")
            ? new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8))
            : Files.newBufferedReader(Paths.get(args[0]))) {
      for (String line = tasks.readLine(); line != null; line = tasks.readLine()) {
        if (!line.isBlank()) {
          failed |= !answer(spark, line);
        }
      }
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
    long started = System.nanoTime();
    try {
      for (Iterator<Map.Entry<String, JsonNode>> it = task.path("conf").fields(); it.hasNext(); ) {
        Map.Entry<String, JsonNode> c = it.next();
        spark.conf().set(c.getKey(), c.getValue().asText());
        set.add(c.getKey());
      }
      switch (kind) {
        case "copy" -> copy(spark, task);
        case "read" -> read(spark, task, faults);
        case "merge" -> merge(spark, task);
        case "write" -> Direct.write(spark, task);
        case "dump" -> Direct.dump(spark, task);
        case "scan" -> Scan.scan(spark, task, faults);
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
    reply.put("seconds", (System.nanoTime() - started) / 1e9);
    System.out.println(JSON.writeValueAsString(reply));
    System.out.flush();
    return faults.isEmpty();
  }

  /** Spark's messages carry whole stack traces. */
  static String firstLine(Throwable e) {
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

  private static void merge(SparkSession spark, JsonNode task) {
    Dataset<Row> old = spark.read().parquet(task.get("old").asText());
    Dataset<Row> changes = spark.read().parquet(task.get("changes").asText());
    Column same = functions.lit(true);
    for (JsonNode key : task.get("key")) {
      same = same.and(old.col(key.asText()).equalTo(changes.col(key.asText())));
    }
    Column changed = changes.col(task.get("key").get(0).asText()).isNotNull();
    List<String> brought = Arrays.asList(changes.columns());
    List<Column> merged = new ArrayList<>();
    for (String name : old.columns()) {
      Column value = old.col(name);
      merged.add(brought.contains(name) ? functions.when(changed, changes.col(name)).otherwise(value).as(name) : value);
    }
    Dataset<Row> joined = old.join(changes, same, "full_outer");
    if (task.path("mode").asText().equals("delete")) {
      joined = joined.where(functions.not(changed));
    }
    DataFrameWriter<Row> writer = joined.select(merged.toArray(new Column[0])).write();
    writer.option("compression", task.path("compression").asText("snappy")).parquet(task.get("out").asText());
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

  static void configure(SparkSession spark, boolean vectorised, boolean pushdown) {
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

/**
 * Spark's Parquet readers and writer without a query around them: what a scan's task calls and what a write's task calls, here
 * called at once. A query costs forty times what a file of some hundred rows does, and thousands are wanted.
 */
final class Direct {
  private static final ObjectMapper JSON = new ObjectMapper();
  private static final ParquetFileFormat FORMAT = new ParquetFileFormat();
  private static final scala.collection.Seq<org.apache.spark.sql.sources.Filter> NO_FILTERS =
      scala.collection.JavaConverters.asScalaBuffer(new ArrayList<org.apache.spark.sql.sources.Filter>());

  private Direct() {}

  static void write(SparkSession spark, JsonNode task) throws Exception {
    Path in = Paths.get(task.get("in").asText());
    Path out = Paths.get(task.get("out").asText());
    scala.collection.immutable.Map<String, String> options = none();
    for (Iterator<Map.Entry<String, JsonNode>> it = task.path("options").fields(); it.hasNext(); ) {
      Map.Entry<String, JsonNode> o = it.next();
      options = options.$plus(new scala.Tuple2<>(o.getKey(), o.getValue().asText()));
    }
    // What a file without Spark's marks is counted in, here and in dump.
    spark.conf().set("spark.sql.parquet.datetimeRebaseModeInRead", "CORRECTED");
    spark.conf().set("spark.sql.parquet.int96RebaseModeInRead", "CORRECTED");
    Engines.configure(spark, false, false);
    copy(spark, in, out, options);
    Files.delete(in);
  }

  /** Copies a file's rows by the reader that is chosen. */
  static void copy(SparkSession spark, Path in, Path out, scala.collection.immutable.Map<String, String> options)
      throws Exception {
    Job job = Job.getInstance(spark.sessionState().newHadoopConfWithOptions(options));
    StructType schema = schema(spark, in);
    var factory = FORMAT.prepareWrite(spark, job, options, schema);
    TaskAttemptContext context = new TaskAttemptContextImpl(job.getConfiguration(), new TaskAttemptID());
    OutputWriter writer = factory.newInstance(out.toString(), schema, context);
    var rows = rows(spark, in, schema, NO_FILTERS);
    while (rows.hasNext()) {
      writer.write(rows.next());
    }
    writer.close();
    Files.deleteIfExists(out.resolveSibling("." + out.getFileName() + ".crc"));
  }

  static void dump(SparkSession spark, JsonNode task) throws IOException {
    spark.conf().set("spark.sql.parquet.datetimeRebaseModeInRead", "CORRECTED");
    spark.conf().set("spark.sql.parquet.int96RebaseModeInRead", "CORRECTED");
    spark.conf().set("spark.sql.legacy.parquet.nanosAsLong", "true");
    Map<String, Object> found = new LinkedHashMap<>();
    for (boolean vectorised : new boolean[] {true, false}) {
      Engines.configure(spark, vectorised, false);
      Object answer;
      try {
        answer = values(spark, task, vectorised);
      } catch (Exception | Error e) {
        Throwable cause = e;
        while (cause.getCause() != null && cause.getCause() != cause) {
          cause = cause.getCause();
        }
        answer = Engines.firstLine(cause);
      }
      found.put(vectorised ? "vectorised" : "rows", answer);
    }
    if (found.get("rows").equals(found.get("vectorised"))) {
      found.put("rows", "same");
    }
    JSON.writeValue(Paths.get(task.get("out").asText()).toFile(), found);
  }

  private static List<Object> values(SparkSession spark, JsonNode task, boolean vectorised) throws IOException {
    List<Object> out = new ArrayList<>();
    for (JsonNode file : task.get("files")) {
      Path in = Paths.get(file.asText());
      StructType whole = schema(spark, in);
      StructType wanted = new StructType();
      for (JsonNode name : task.get("columns")) {
        wanted = wanted.add(whole.apply(name.asText()));
      }
      var rows = rows(spark, in, wanted, NO_FILTERS);
      while (rows.hasNext()) {
        out.add(struct(rows.next(), wanted));
      }
    }
    return out;
  }

  static scala.collection.immutable.Map<String, String> none() {
    return scala.collection.immutable.Map$.MODULE$.empty();
  }

  static StructType schema(SparkSession spark, Path in) throws IOException {
    Configuration conf = spark.sessionState().newHadoopConf();
    var path = new org.apache.hadoop.fs.Path(in.toUri());
    var footer = ParquetFooterReader.readFooter(conf, path, ParquetMetadataConverter.SKIP_ROW_GROUPS);
    return ParquetFileFormat.readSchemaFromFooter(
        new Footer(path, footer), new ParquetToSparkSchemaConverter(spark.sessionState().conf()));
  }

  /** Rows of a file by the reader that {@link Engines#configure} has chosen; filters may leave out rows that do not match. */
  static scala.collection.Iterator<InternalRow> rows(
      SparkSession spark, Path in, StructType schema, scala.collection.Seq<org.apache.spark.sql.sources.Filter> filters)
      throws IOException {
    scala.collection.immutable.Map<String, String> options =
        none().$plus(new scala.Tuple2<>("returning_batch", "false"));
    var read =
        FORMAT.buildReaderWithPartitionValues(
            spark, schema, new StructType(), schema, filters, options, spark.sessionState().newHadoopConf());
    long size = Files.size(in);
    scala.collection.immutable.Map<String, Object> constants = scala.collection.immutable.Map$.MODULE$.empty();
    return read.apply(
        new PartitionedFile(
            InternalRow.empty(), SparkPath.fromPath(new org.apache.hadoop.fs.Path(in.toUri())), 0, size,
            new String[0], 0, size, constants));
  }

  // -- values: a letter that says what it is and the value's text; structs, lists and maps are lists -----------------------

  private static List<Object> struct(SpecializedGetters row, StructType schema) {
    List<Object> out = new ArrayList<>();
    int i = 0;
    for (StructField f : schema.fields()) {
      out.add(value(row, i++, f.dataType()));
    }
    return out;
  }

  private static Object value(SpecializedGetters row, int i, DataType type) {
    if (row.isNullAt(i)) {
      return null;
    }
    if (type instanceof BooleanType) {
      return row.getBoolean(i);
    }
    if (type instanceof FloatType) {
      return "f" + (double) row.getFloat(i);
    }
    if (type instanceof DoubleType) {
      return "f" + row.getDouble(i);
    }
    if (type instanceof DecimalType d) {
      return "n" + row.getDecimal(i, d.precision(), d.scale()).toJavaBigDecimal().toPlainString();
    }
    if (type instanceof StringType) {
      return "s" + row.getUTF8String(i);
    }
    if (type instanceof BinaryType) {
      return "x" + java.util.HexFormat.of().formatHex(row.getBinary(i));
    }
    if (type instanceof TimestampType || type instanceof TimestampNTZType) {
      return "t" + row.getLong(i);
    }
    if (type instanceof StructType s) {
      return struct(row.getStruct(i, s.size()), s);
    }
    if (type instanceof ArrayType a) {
      return array(row.getArray(i), a.elementType());
    }
    if (type instanceof MapType m) {
      MapData map = row.getMap(i);
      List<Object> keys = array(map.keyArray(), m.keyType());
      List<Object> values = array(map.valueArray(), m.valueType());
      List<Object> out = new ArrayList<>();
      for (int j = 0; j < keys.size(); j++) {
        out.add(Arrays.asList(keys.get(j), values.get(j)));
      }
      return out;
    }
    return "i" + row.get(i, type);
  }

  private static List<Object> array(ArrayData data, DataType element) {
    List<Object> out = new ArrayList<>();
    for (int j = 0; j < data.numElements(); j++) {
      out.add(value(data, j, element));
    }
    return out;
  }
}

/**
 * Reads files whole by both readers, and by filters that are pushed down: at, around and between the bounds of row groups. A
 * filter may hand out rows that do not match it, but none that matches may be missing.
 */
final class Scan {
  private Scan() {}

  static void scan(SparkSession spark, JsonNode task, List<String> faults) throws Exception {
    spark.conf().set("spark.sql.parquet.datetimeRebaseModeInRead", "CORRECTED");
    spark.conf().set("spark.sql.parquet.int96RebaseModeInRead", "CORRECTED");
    List<Path> files = new ArrayList<>();
    try (Stream<Path> found = Files.walk(Paths.get(task.get("in").asText()))) {
      found.filter(f -> f.getFileName().toString().endsWith(".parquet")).sorted().forEach(files::add);
    }
    Path out = Paths.get(task.get("out").asText());
    Files.createDirectories(out);
    for (int i = 0; i < files.size(); i++) {
      for (boolean vectorised : new boolean[] {true, false}) {
        Engines.configure(spark, vectorised, false);
        Direct.copy(spark, files.get(i), out.resolve((vectorised ? "vectorised-" : "rows-") + i + ".parquet"), Direct.none());
      }
      if (faults.isEmpty()) {
        probe(spark, files.get(i), task.get("probes").asInt(), faults);
      }
    }
  }

  private static void probe(SparkSession spark, Path file, int most, List<String> faults) throws IOException {
    List<Integer> groups = new ArrayList<>();
    var path = new org.apache.hadoop.fs.Path(file.toUri());
    var footer = ParquetFooterReader.readFooter(spark.sessionState().newHadoopConf(), path, ParquetMetadataConverter.NO_FILTER);
    footer.getBlocks().forEach(b -> groups.add((int) b.getRowCount()));
    List<StructField> fields = new ArrayList<>();
    for (StructField f : Direct.schema(spark, file).fields()) {
      if (comparable(f.dataType())) {
        fields.add(f);
      }
    }
    for (StructField f : fields) {
      StructType one = new StructType().add(f);
      Engines.configure(spark, false, false);
      List<Comparable<Object>> all = column(spark, file, one, List.of());
      int left = Math.max(1, most / fields.size());
      for (Comparable<Object> x : literals(all, groups, left)) {
        for (int op = 0; op < OPS.length; op++) {
          final int o = op;
          long want = all.stream().filter(v -> matches(v, o, x)).count();
          for (boolean vectorised : new boolean[] {true, false}) {
            Engines.configure(spark, vectorised, true);
            long got =
                column(spark, file, one, List.of(filter(f, op, x))).stream().filter(v -> matches(v, o, x)).count();
            if (got != want) {
              faults.add((vectorised ? "vectorised" : "row") + " reader, " + file.getFileName() + ": " + got + " rows where "
                  + f.name() + " " + OPS[op] + " " + x + ", there are " + want);
            }
          }
        }
      }
    }
  }

  private static final String[] OPS = {"=", "<", "<=", ">", ">="};

  private static org.apache.spark.sql.sources.Filter filter(StructField f, int op, Object x) {
    Object value = org.apache.spark.sql.catalyst.CatalystTypeConverters.convertToScala(x, f.dataType());
    return switch (op) {
      case 0 -> new org.apache.spark.sql.sources.EqualTo(f.name(), value);
      case 1 -> new org.apache.spark.sql.sources.LessThan(f.name(), value);
      case 2 -> new org.apache.spark.sql.sources.LessThanOrEqual(f.name(), value);
      case 3 -> new org.apache.spark.sql.sources.GreaterThan(f.name(), value);
      default -> new org.apache.spark.sql.sources.GreaterThanOrEqual(f.name(), value);
    };
  }

  /** NaN matches nothing here: parquet-mr passes it by, Spark takes it for the largest number. */
  private static boolean matches(Comparable<Object> v, int op, Object x) {
    if (isNaN(v) || v == null) {
      return false;
    }
    int n = v.compareTo(x);
    return switch (op) {
      case 0 -> n == 0;
      case 1 -> n < 0;
      case 2 -> n <= 0;
      case 3 -> n > 0;
      default -> n >= 0;
    };
  }

  private static boolean isNaN(Object v) {
    return v instanceof Float f && f.isNaN() || v instanceof Double d && d.isNaN();
  }

  private static boolean comparable(DataType t) {
    return t instanceof org.apache.spark.sql.types.NumericType
        || t instanceof StringType
        || t instanceof org.apache.spark.sql.types.DateType
        || t instanceof TimestampType
        || t instanceof TimestampNTZType;
  }

  /** The least and the greatest value of each row group, and their neighbours: some of them, the same ones each time. */
  private static List<Comparable<Object>> literals(List<Comparable<Object>> all, List<Integer> groups, int most) {
    var sorted = new java.util.TreeSet<Comparable<Object>>();
    var bounds = new java.util.TreeSet<Comparable<Object>>();
    int at = 0;
    for (int n : groups) {
      var group = new java.util.TreeSet<Comparable<Object>>();
      all.subList(at, at + n).stream().filter(Scan::plain).forEach(group::add);
      at += n;
      sorted.addAll(group);
      if (!group.isEmpty()) {
        bounds.add(group.first());
        bounds.add(group.last());
      }
    }
    var chosen = new java.util.LinkedHashSet<Comparable<Object>>();
    for (Comparable<Object> b : bounds) {
      for (Comparable<Object> x : Arrays.asList(sorted.lower(b), b, sorted.higher(b))) {
        if (x != null) {
          chosen.add(x);
        }
      }
    }
    List<Comparable<Object>> list = new ArrayList<>(chosen);
    java.util.Collections.shuffle(list, new java.util.Random(list.size()));
    return list.subList(0, Math.min(most, list.size()));
  }

  /** No NULL, no NaN, and no zero of a float, of which there are two that are equal. */
  private static boolean plain(Object v) {
    return v != null && !isNaN(v) && !(v instanceof Float f && f == 0) && !(v instanceof Double d && d == 0);
  }

  @SuppressWarnings("unchecked")
  private static List<Comparable<Object>> column(
      SparkSession spark, Path file, StructType one, List<org.apache.spark.sql.sources.Filter> filters) throws IOException {
    List<Comparable<Object>> out = new ArrayList<>();
    var rows = Direct.rows(spark, file, one, scala.collection.JavaConverters.asScalaBuffer(new ArrayList<>(filters)));
    while (rows.hasNext()) {
      InternalRow row = rows.next();
      Object v = row.isNullAt(0) ? null : row.get(0, one.fields()[0].dataType());
      out.add((Comparable<Object>) (v instanceof org.apache.spark.unsafe.types.UTF8String s ? s.copy() : v));
    }
    return out;
  }
}
