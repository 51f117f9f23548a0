package dev.heed.example;

import dev.heed.v1.Channel;
import dev.heed.v1.CheckSuppressionRequest;
import dev.heed.v1.CheckSuppressionResponse;
import dev.heed.v1.Choice;
import dev.heed.v1.Method;
import dev.heed.v1.OptOut;
import dev.heed.v1.Origin;
import dev.heed.v1.PreferenceServiceGrpc.PreferenceServiceBlockingStub;
import dev.heed.v1.Query;
import dev.heed.v1.Scope;
import dev.heed.v1.SetPreferenceRequest;
import dev.heed.v1.SetPreferenceResponse;
import dev.heed.v1.Subject;
import io.grpc.StatusRuntimeException;
import java.time.Duration;
import java.util.concurrent.TimeUnit;

/** What a service asks before it sends, and what it tells. */
final class Ask {
  /** Whether to send, and why. */
  record Answer(boolean send, String why) {}

  private Ask() {}

  /**
   * Says whether to send. `mandatory` is what the caller itself knows of the topic, never what heed
   * said: where no answer can be had, such a message goes out all the same.
   */
  static Answer maySend(
      PreferenceServiceBlockingStub stub,
      CheckSuppressionRequest request,
      Duration deadline,
      boolean mandatory) {
    CheckSuppressionResponse answer;
    try {
      answer =
          stub.withDeadlineAfter(deadline.toNanos(), TimeUnit.NANOSECONDS).checkSuppression(request);
    } catch (StatusRuntimeException error) {
      return switch (error.getStatus().getCode()) {
        case UNAVAILABLE, DEADLINE_EXCEEDED -> new Answer(mandatory, "no answer");
        // A malformed question, a key that is wrong: no reason to send anything.
        default -> new Answer(false, "refused");
      };
    }
    return switch (answer.getDecision().getVerdict()) {
      case VERDICT_ALLOWED -> new Answer(true, "allowed");
      case VERDICT_SUPPRESSED -> new Answer(false, "suppressed");
      // Zero, or of a later version.
      default -> new Answer(false, "unknown verdict");
    };
  }

  /**
   * Records that a person wants no more of a topic by email. With the same key it happens once,
   * however often it is called.
   */
  static SetPreferenceResponse optOut(
      PreferenceServiceBlockingStub stub,
      String email,
      String topic,
      String key,
      Duration deadline) {
    Scope scope = Scope.newBuilder().setChannel(Channel.CHANNEL_EMAIL).setTopic(topic).build();
    return stub.withDeadlineAfter(deadline.toNanos(), TimeUnit.NANOSECONDS)
        .setPreference(
            SetPreferenceRequest.newBuilder()
                .setIdempotencyKey(key)
                .addSubjects(Subject.newBuilder().setEmail(email))
                .addChoices(
                    Choice.newBuilder().setScope(scope).setOptOut(OptOut.getDefaultInstance()))
                .setOrigin(
                    Origin.newBuilder()
                        .setSource("example-java")
                        .setMethod(Method.METHOD_WEB_FORM))
                .build());
  }

  /** Asks about one message; with a token, at what that token knows or later. */
  static CheckSuppressionRequest aboutEmail(String email, String topic, String token) {
    return CheckSuppressionRequest.newBuilder()
        .setQuery(
            Query.newBuilder()
                .addSubjects(Subject.newBuilder().setEmail(email))
                .setChannel(Channel.CHANNEL_EMAIL)
                .setTopic(topic))
        .setToken(token)
        .build();
  }
}
