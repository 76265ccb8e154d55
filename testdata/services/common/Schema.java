import java.io.File;
import java.io.IOException;
import java.nio.file.Files;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.SQLException;
import java.sql.Statement;

/** The database of a metastore: Derby inside this JVM, with the tables that Hive's own SQL script makes. */
final class Schema {
  static final String USER = "APP";
  static final String PASSWORD = "mine";

  private final File database;

  Schema(File dir) {
    database = new File(dir, "derby");
    System.setProperty("derby.stream.error.file", new File(dir, "derby.log").getPath());
  }

  String url() {
    return "jdbc:derby:;databaseName=" + database;
  }

  /** Closes the database: Derby writes out what it has in memory. */
  static void close() {
    try {
      DriverManager.getConnection("jdbc:derby:;shutdown=true");
    } catch (SQLException shutDown) {
      // That it is shut down comes as an exception.
    }
  }

  void create(File script) throws IOException, SQLException {
    if (database.exists()) {
      return;
    }
    try (Connection connection = DriverManager.getConnection(url() + ";create=true", USER, PASSWORD);
        Statement statement = connection.createStatement()) {
      connection.setAutoCommit(false);
      StringBuilder sql = new StringBuilder();
      for (String line : Files.readAllLines(script.toPath())) {
        if (line.isBlank() || line.startsWith("--")) {
          continue;
        }
        sql.append(line).append('\n');
        if (line.stripTrailing().endsWith(";")) {
          statement.execute(sql.substring(0, sql.lastIndexOf(";")));
          sql.setLength(0);
        }
      }
      connection.commit();
    }
  }
}
