import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import org.apache.spark.sql.Column;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.SparkSession;
import org.apache.spark.sql.api.java.UDF1;
import org.apache.spark.sql.functions;
import org.apache.spark.sql.types.DataTypes;

/**
 * One Spark session on a Hive Metastore that answers statements, one JSON object a line of standard input. Arguments: the
 * metastore (thrift://host:port) and the default file system.
 *
 * <ul>
 *   <li>sql: {"sql": "SELECT ..."} answers with the rows, each value as Spark writes it as text
 *   <li>begin: the same, in the background. The function held(bigint) gives its argument, once the gate is open. The answer
 *       comes when a task of the query stands at the gate: it has listed the table by then and reads it
 *   <li>end: opens the gate, and answers with the rows of what was begun
 * </ul>
 *
 * Each answer is one line of standard output that starts with {"task"; anything else is Spark's log.
 */
public final class Catalog {
  private static final ObjectMapper JSON = new ObjectMapper();

  /** The gate that held() waits at, and whether anybody waits. */
  private static volatile CountDownLatch gate = new CountDownLatch(0);
  private static volatile CountDownLatch arrived = new CountDownLatch(0);
  private static CompletableFuture<List<List<String>>> begun;

  public static void main(String[] args) throws Exception {
    // Tasks find held() by it: a program that is run from its source has a class loader of its own.
    Thread.currentThread().setContextClassLoader(Catalog.class.getClassLoader());
    SparkSession spark =
        SparkSession.builder()
            .master("local[2]")
            .appName("catalog")
            .enableHiveSupport()
            .config("spark.ui.enabled", "false")
            .config("spark.driver.host", "localhost")
            .config("spark.driver.bindAddress", "127.0.0.1")
            .config("spark.sql.session.timeZone", "UTC")
            .config("spark.sql.shuffle.partitions", "2")
            // Each file is a task of its own, so that a query opens files one after the other.
            .config("spark.sql.files.openCostInBytes", String.valueOf(1L << 30))
            .config("spark.sql.files.minPartitionNum", "64")
            .config("spark.sql.warehouse.dir", args[1] + "/warehouse")
            .config("spark.hadoop.fs.defaultFS", args[1])
            .config("spark.hadoop.dfs.replication", "1")
            .config("spark.hadoop.hive.metastore.uris", args[0])
            .config("spark.hadoop.hive.exec.dynamic.partition.mode", "nonstrict")
            .config("spark.hadoop.parquet.page.verify-checksum.enabled", "true")
            .getOrCreate();
    spark.sparkContext().setLogLevel("ERROR");
    spark.udf().register("held", new Held(), DataTypes.LongType);
    BufferedReader tasks = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    for (String line = tasks.readLine(); line != null; line = tasks.readLine()) {
      answer(spark, JSON.readTree(line));
    }
    spark.stop();
    System.exit(0);
  }

  /** The function held. */
  public static final class Held implements UDF1<Long, Long> {
    private static final long serialVersionUID = 1;

    @Override
    public Long call(Long value) throws InterruptedException {
      arrived.countDown();
      gate.await();
      return value;
    }
  }

  private static void answer(SparkSession spark, JsonNode task) throws IOException {
    Map<String, Object> reply = new LinkedHashMap<>();
    reply.put("task", task.get("task").asText());
    try {
      String sql = task.path("sql").asText();
      switch (task.get("task").asText()) {
        case "sql" -> reply.put("rows", rows(spark, sql));
        case "begin" -> begin(spark, sql);
        case "end" -> {
          gate.countDown();
          reply.put("rows", begun.get());
        }
        default -> reply.put("fault", "no such task");
      }
    } catch (Exception e) {
      StringBuilder message = new StringBuilder();
      for (Throwable cause = e; cause != null && cause != cause.getCause(); cause = cause.getCause()) {
        message.append(message.isEmpty() ? "" : " <- ").append(cause.toString().lines().findFirst().orElse(""));
      }
      reply.put("fault", message.toString());
    }
    System.out.println(JSON.writeValueAsString(reply));
    System.out.flush();
  }

  private static void begin(SparkSession spark, String sql) throws Exception {
    gate = new CountDownLatch(1);
    arrived = new CountDownLatch(1);
    begun = CompletableFuture.supplyAsync(() -> rows(spark, sql));
    begun.whenComplete((rows, failure) -> arrived.countDown());
    arrived.await();
    if (begun.isCompletedExceptionally()) {
      begun.get();
    }
  }

  private static List<List<String>> rows(SparkSession spark, String sql) {
    Dataset<Row> result = spark.sql(sql);
    if (result.columns().length == 0) {
      return List.of();
    }
    // Values by their places: a description of a table names columns twice.
    String[] names = new String[result.columns().length];
    Column[] texts = new Column[names.length];
    for (int i = 0; i < names.length; i++) {
      names[i] = "c" + i;
      texts[i] = functions.col(names[i]).cast("string");
    }
    List<List<String>> rows = new ArrayList<>();
    for (Row row : result.toDF(names).select(texts).collectAsList()) {
      String[] values = new String[names.length];
      for (int i = 0; i < values.length; i++) {
        values[i] = row.getString(i);
      }
      rows.add(Arrays.asList(values));
    }
    return rows;
  }
}
