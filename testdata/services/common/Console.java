import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.net.InetAddress;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;

/**
 * How a test talks with the services of a JVM. Once all of it answers, stdout has lines of key=value and READY. From
 * then on each line of stdin is a command, each answered by one line: OK and what there is to say, or ERR and the
 * reason. All ends when stdin does: whoever started this and dies leaves nothing.
 */
final class Console {
  /** Starts services, says by {@link #say} where they are, and gives what carries out commands. */
  interface Start {
    Interpreter start(Console console) throws Throwable;
  }

  /** Carries out a command. Its answer may be empty. */
  interface Interpreter {
    String run(String name, String[] words) throws Throwable;
  }

  private final PrintStream answers;

  private Console(PrintStream answers) {
    this.answers = answers;
  }

  static void main(Start services) {
    // Stdout is the answers'. What a library prints goes where its log goes.
    Console console = new Console(new PrintStream(System.out, true, StandardCharsets.UTF_8));
    System.setOut(System.err);
    try {
      Interpreter interpreter = services.start(console);
      console.answers.println("READY");
      console.obey(interpreter);
    } catch (Throwable e) {
      // Threads that are not daemons are about: without an exit the JVM would hang where it can't start.
      e.printStackTrace();
      Runtime.getRuntime().halt(1);
    }
    // Data is left as a crash leaves it, which is what a restart on it must bear anyway.
    Runtime.getRuntime().halt(0);
  }

  void say(String key, Object value) {
    answers.println(key + "=" + value);
  }

  private void obey(Interpreter interpreter) throws IOException {
    BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    for (String line; (line = in.readLine()) != null; ) {
      // Words are parted by tabs where there is one, so that a path may hold spaces.
      String[] words = line.indexOf('\t') >= 0 ? line.split("\t") : line.trim().split("\\s+");
      String answer;
      try {
        answer = "OK " + interpreter.run(words[0], Arrays.copyOfRange(words, 1, words.length));
      } catch (Throwable e) {
        answer = "ERR " + e;
      }
      answers.println(answer.replace('\n', ' ').replace('\r', ' ').stripTrailing());
      if (words[0].equals("stop")) {
        return;
      }
    }
  }

  /** Waits until somebody listens, unless the thread that shall has ended. */
  static void awaitPort(int port, Thread server) throws IOException, InterruptedException {
    while (server.isAlive()) {
      try (Socket probe = new Socket(InetAddress.getLoopbackAddress(), port)) {
        return;
      } catch (IOException notYet) {
        Thread.sleep(20);
      }
    }
    throw new IOException("the server of port " + port + " has ended");
  }
}
