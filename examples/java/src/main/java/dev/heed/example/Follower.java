package dev.heed.example;

import com.google.protobuf.Duration;
import dev.heed.v1.ReportAppliedRequest;
import dev.heed.v1.WatchChangesRequest;
import dev.heed.v1.WatchChangesResponse;
import dev.heed.v1.WatchServiceGrpc;
import dev.heed.v1.WatchServiceGrpc.WatchServiceBlockingStub;
import io.grpc.Context;
import io.grpc.Context.CancellableContext;
import io.grpc.ManagedChannel;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import java.util.Iterator;
import java.util.Map;
import java.util.concurrent.CancellationException;
import java.util.concurrent.ScheduledThreadPoolExecutor;
import java.util.concurrent.ScheduledFuture;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.TimeUnit;

/** Opens stream after stream, and goes on from where it stands. */
final class Follower {
  static final java.time.Duration MAX_STALENESS = java.time.Duration.ofSeconds(5);

  private static final long OPEN_MILLIS = 10_000;
  private static final long FIRST_WAIT_MILLIS = 250;
  private static final long WAIT_MILLIS_MAX = 30_000;
  private static final long CALM_AFTER_NANOS = TimeUnit.MINUTES.toNanos(1);

  private final ManagedChannel channel;
  private final WatchServiceBlockingStub stub;
  private final String name;
  private final Knowledge known = new Knowledge();
  private final ScheduledThreadPoolExecutor timer = new ScheduledThreadPoolExecutor(2);

  Follower(ManagedChannel channel, String name) {
    this.channel = channel;
    this.stub = WatchServiceGrpc.newBlockingStub(channel);
    this.name = name;
    timer.setRemoveOnCancelPolicy(true);
  }

  /** How a stream ended, and how long its node wants the next to wait; 0: it did not say. */
  private record End(String why, long pauseMillis, boolean mustResync) {}

  /** Reads until its thread is interrupted. */
  void follow() throws InterruptedException {
    long wait = FIRST_WAIT_MILLIS;
    while (true) {
      long began = System.nanoTime();
      End end = stream();
      Main.say("lost", Map.of("why", end.why));
      if (end.mustResync) {
        known.forget();
      }
      if (System.nanoTime() - began >= CALM_AFTER_NANOS) {
        wait = FIRST_WAIT_MILLIS;
      }
      long pause = end.pauseMillis;
      if (pause == 0) { // full jitter: a thousand readers do not come back at once
        pause = ThreadLocalRandom.current().nextLong(wait);
        wait = Math.min(2 * wait, WAIT_MILLIS_MAX);
      }
      Thread.sleep(pause);
      channel.resetConnectBackoff(); // this loop has one of its own
    }
  }

  /** Reads one stream to its end. */
  private End stream() {
    CancellableContext context = Context.current().withCancellation();
    Context outer = context.attach();
    Silence silence = new Silence(context);
    ScheduledFuture<?> probes = null;
    try {
      Iterator<WatchChangesResponse> messages =
          stub.withWaitForReady()
              .watchChanges(
                  WatchChangesRequest.newBuilder()
                      .setSubscriber(name)
                      .setToken(known.begin())
                      .setMaxStaleness(Duration.newBuilder().setSeconds(MAX_STALENESS.toSeconds()))
                      .build());
      while (messages.hasNext()) {
        WatchChangesResponse message = messages.next();
        if (message.hasOpened()) {
          silence.allow(3 * millis(message.getOpened().getHeartbeatInterval()));
          probes = probing(context, message.getOpened().getStreamId());
        }
        silence.begin();
        if (message.hasDraining()) {
          return new End("draining", millis(message.getDraining().getReconnectAfter()), false);
        }
        known.take(message);
      }
      return new End("the stream ended", 0, false);
    } catch (ResyncException error) {
      return new End(error.getMessage(), 0, true);
    } catch (StatusRuntimeException error) {
      Throwable cause = context.cancellationCause();
      boolean isToken = error.getStatus().getCode() == Status.Code.INVALID_ARGUMENT;
      return new End((cause == null ? error : cause).getMessage(), 0, isToken);
    } finally {
      silence.end();
      if (probes != null) {
        probes.cancel(false);
      }
      context.detach(outer);
      context.cancel(null);
    }
  }

  /** Tells how far this reader is, and asks how old what it knows is, as long as the stream. */
  private ScheduledFuture<?> probing(CancellableContext context, String streamId) {
    Runnable probe =
        () -> {
          Knowledge.Probe next = known.nextProbe();
          try {
            stub.withDeadlineAfter(1, TimeUnit.SECONDS)
                .reportApplied(
                    ReportAppliedRequest.newBuilder()
                        .setStreamId(streamId)
                        .setAppliedRevision(next.revision())
                        .setProbe(next.number())
                        .build());
          } catch (StatusRuntimeException error) {
            // It is over, or at another node. After any other failure the next probe says more.
            if (error.getStatus().getCode() == Status.Code.NOT_FOUND) {
              context.cancel(new CancellationException("the stream is unknown"));
            }
          }
        };
    return timer.scheduleWithFixedDelay(
        context.wrap(probe), 0, MAX_STALENESS.toMillis() / 3, TimeUnit.MILLISECONDS);
  }

  /** Ends a stream that is silent: it is as good as dead, whatever TCP believes. */
  private final class Silence {
    private final CancellableContext context;
    private long allowedMillis = OPEN_MILLIS;
    private ScheduledFuture<?> watchdog;

    Silence(CancellableContext context) {
      this.context = context;
      watch();
    }

    void allow(long millis) {
      allowedMillis = millis;
    }

    void begin() {
      end();
      watch();
    }

    void end() {
      watchdog.cancel(false);
    }

    private void watch() {
      watchdog =
          timer.schedule(
              () -> context.cancel(new CancellationException("silent")),
              allowedMillis,
              TimeUnit.MILLISECONDS);
    }
  }

  private static long millis(Duration duration) {
    return TimeUnit.SECONDS.toMillis(duration.getSeconds())
        + TimeUnit.NANOSECONDS.toMillis(duration.getNanos());
  }
}
