package dev.heed.example;

import com.google.gson.Gson;
import dev.heed.v1.PreferenceServiceGrpc;
import dev.heed.v1.PreferenceServiceGrpc.PreferenceServiceBlockingStub;
import dev.heed.v1.SetPreferenceResponse;
import io.grpc.ManagedChannel;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * Asks heed, tells it what people choose, and follows its log.
 *
 * <pre>
 * example may-send &lt; LINES           EMAIL TOPIC, and `mandatory` where the caller knows it so
 * example opt-out EMAIL TOPIC KEY    and a check that must know of it
 * example watch NAME                 for ever
 * </pre>
 *
 * It writes one JSON object a line. HEED_ADDRESS and HEED_API_KEY say where and by what key,
 * HEED_CHECK_SECONDS and HEED_WRITE_SECONDS how long a call may take.
 */
public final class Main {
  private static final Gson GSON = new Gson();

  private Main() {}

  /** Runs one of the commands. */
  public static void main(String[] arguments) throws IOException, InterruptedException {
    String command = arguments.length == 0 ? "" : arguments[0];
    if (command.equals("may-send") && arguments.length == 1) {
      asking(Main::answerLines);
    } else if (command.equals("opt-out") && arguments.length == 4) {
      asking(stub -> optOutAndCheck(stub, arguments[1], arguments[2], arguments[3]));
    } else if (command.equals("watch") && arguments.length == 2) {
      new Follower(connect(Connection.WATCH_CONFIG), arguments[1]).follow();
    } else {
      System.err.println("say may-send, opt-out EMAIL TOPIC KEY, or watch NAME");
      System.exit(1);
    }
  }

  private interface Act {
    void with(PreferenceServiceBlockingStub stub) throws IOException;
  }

  private static void asking(Act act) throws IOException {
    ManagedChannel channel = connect(Connection.SERVICE_CONFIG);
    try {
      act.with(PreferenceServiceGrpc.newBlockingStub(channel));
    } finally {
      channel.shutdownNow();
    }
  }

  private static void answerLines(PreferenceServiceBlockingStub stub) throws IOException {
    var lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    for (String line = lines.readLine(); line != null; line = lines.readLine()) {
      String[] words = line.split(" ");
      boolean mandatory = words.length == 3 && words[2].equals("mandatory");
      var question = Ask.aboutEmail(words[0], words[1], "");
      say(Ask.maySend(stub, question, seconds("HEED_CHECK_SECONDS", "1"), mandatory));
    }
  }

  private static void optOutAndCheck(
      PreferenceServiceBlockingStub stub, String email, String topic, String key) {
    Duration deadline = seconds("HEED_WRITE_SECONDS", "2");
    SetPreferenceResponse answer = Ask.optOut(stub, email, topic, key, deadline);
    say(
        "opted out",
        Map.of(
            "revision", answer.getPosition().getRevision(),
            "replayed", answer.getReplayed(),
            "standing", answer.getStandingCount()));
    // The token makes whoever answers, another node or an agent, know of the opt-out first.
    var question = Ask.aboutEmail(email, topic, answer.getPosition().getToken());
    say(Ask.maySend(stub, question, deadline, false));
  }

  private static ManagedChannel connect(String config) {
    return Connection.connect(
        setting("HEED_ADDRESS", "127.0.0.1:50051"), setting("HEED_API_KEY", ""), config);
  }

  private static Duration seconds(String name, String otherwise) {
    return Duration.ofNanos((long) (Double.parseDouble(setting(name, otherwise)) * 1e9));
  }

  private static String setting(String name, String otherwise) {
    return System.getenv().getOrDefault(name, otherwise);
  }

  private static void say(Ask.Answer answer) {
    say("check", Map.of("send", answer.send(), "why", answer.why()));
  }

  static void say(String event, Map<String, ?> more) {
    Map<String, Object> line = new LinkedHashMap<>(more);
    line.put("event", event);
    System.out.println(GSON.toJson(line));
  }
}
