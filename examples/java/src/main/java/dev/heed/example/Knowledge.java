package dev.heed.example;

import com.google.protobuf.ByteString;
import com.google.protobuf.InvalidProtocolBufferException;
import dev.heed.v1.Cause;
import dev.heed.v1.Change;
import dev.heed.v1.Changes;
import dev.heed.v1.Heartbeat;
import dev.heed.v1.Reach;
import dev.heed.v1.RecordKind;
import dev.heed.v1.SnapshotBegin;
import dev.heed.v1.SnapshotEnd;
import dev.heed.v1.SnapshotRecords;
import dev.heed.v1.SubjectRecords;
import dev.heed.v1.WatchChangesResponse;
import dev.heed.v1.WatchedRecord;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * What one subscriber was told. It outlives its streams; who keeps it on disk keeps the token with
 * the records, in one transaction: a token ahead of its records is a gap that nobody finds.
 *
 * <p>Its methods are synchronized, because probes are sent beside the reading.
 */
final class Knowledge {
  /** How many probes may be on their way. */
  private static final int PROBES_KEPT = 10;

  /** The place of a record: one that is set replaces what stood there. */
  private record Slot(
      ByteString subject, RecordKind kind, Cause cause, Reach reach, int channel, String topic) {
    static Slot of(ByteString subject, WatchedRecord record) {
      boolean isOfOnePlace =
          record.getKind() == RecordKind.RECORD_KIND_PAUSE
              || record.getKind() == RecordKind.RECORD_KIND_QUIET_HOURS;
      return new Slot(
          subject,
          record.getKind(),
          record.getCause(),
          isOfOnePlace ? Reach.REACH_UNSPECIFIED : record.getReach(), // for all reaches
          record.getChannelValue(),
          record.getTopic());
    }
  }

  /** A probe as it is sent: its number, and how far this reader is. */
  record Probe(long number, long revision) {}

  private ByteString epoch = ByteString.EMPTY;
  private String token = "";
  private long revision;
  private Map<Slot, WatchedRecord> records = new HashMap<>();

  // Of the stream that is read now.
  private Draft draft;
  private boolean isLive;
  private Map<Long, Long> probes = new HashMap<>();
  private long lastProbe;

  /** A snapshot under way. Until it is whole, absence says nothing. */
  private static final class Draft {
    final SnapshotBegin begin;
    final Map<Slot, WatchedRecord> records = new HashMap<>();
    final MessageDigest checksum = sha256();

    Draft(SnapshotBegin begin) {
      this.begin = begin;
    }

    void add(ByteString chunk) throws ResyncException {
      checksum.update(chunk.asReadOnlyByteBuffer());
      try {
        for (SubjectRecords subject : SnapshotRecords.parseFrom(chunk).getSubjectsList()) {
          for (WatchedRecord record : subject.getRecordsList()) {
            records.put(Slot.of(subject.getSubjectKey(), record), record);
          }
        }
      } catch (InvalidProtocolBufferException error) {
        throw new ResyncException("the snapshot cannot be read");
      }
    }
  }

  /** Makes ready for another stream, and says what to resume by. */
  synchronized String begin() {
    draft = null;
    isLive = false;
    probes = new HashMap<>();
    lastProbe = 0;
    return token;
  }

  /** Drops everything: the next stream begins with a snapshot. */
  synchronized void forget() {
    token = "";
    revision = 0;
    records = new HashMap<>();
  }

  /** Notes that a probe is sent now. */
  synchronized Probe nextProbe() {
    lastProbe++;
    probes.put(lastProbe, System.nanoTime());
    probes.remove(lastProbe - PROBES_KEPT);
    return new Probe(lastProbe, revision);
  }

  /** Applies one message, all of it or nothing. */
  synchronized void take(WatchChangesResponse message) throws ResyncException {
    switch (message.getEventCase()) {
      case OPENED -> {
        if (!message.getOpened().getEpoch().equals(epoch)) { // restored, or another store
          forget();
        }
        epoch = message.getOpened().getEpoch();
      }
      case SNAPSHOT_BEGIN -> draft = new Draft(message.getSnapshotBegin());
      case SNAPSHOT_CHUNK -> draft.add(message.getSnapshotChunk().getRecords());
      case SNAPSHOT_END -> replace(message.getSnapshotEnd());
      case CHANGES -> apply(message.getChanges());
      case HEARTBEAT -> hear(message.getHeartbeat());
      // Of a later version: it may have been a change.
      default -> throw new ResyncException("an event of a later version");
    }
  }

  /** Puts a whole snapshot in the place of what was known. */
  private void replace(SnapshotEnd end) throws ResyncException {
    Draft whole = draft;
    draft = null;
    if (whole.records.size() != end.getRecordCount()
        || !MessageDigest.isEqual(whole.checksum.digest(), end.getChecksum().toByteArray())) {
      throw new ResyncException("the snapshot is damaged");
    }
    records = whole.records;
    revision = whole.begin.getRevision();
    token = end.getToken();
    String reason = whole.begin.getReason().name().replace("RESYNC_REASON_", "");
    Main.say(
        "snapshot",
        Map.of("reason", reason, "revision", revision, "records", records.size()));
  }

  /** Moves from `after` to `through`. */
  private void apply(Changes changes) throws ResyncException {
    if (token.isEmpty() || draft != null || changes.getAfter() != revision) {
      throw new ResyncException("a gap");
    }
    for (Change change : changes.getChangesList()) {
      ByteString subject = change.getSubjectKey();
      switch (change.getEffectCase()) {
        case SET_RECORD ->
            records.put(Slot.of(subject, change.getSetRecord()), change.getSetRecord());
        case REMOVE_RECORD -> records.remove(Slot.of(subject, change.getRemoveRecord()));
        case SET_RECORDS -> {
          records.keySet().removeIf(place -> place.subject().equals(subject));
          for (WatchedRecord record : change.getSetRecords().getRecordsList()) {
            records.put(Slot.of(subject, record), record);
          }
        }
        // All of one subject is of another key since. Without a subject a lookup key began to be
        // used: for who looks people up, and this program looks nobody up.
        case REKEY -> {
          ByteString previous = change.getRekey().getPreviousSubjectKey();
          List<WatchedRecord> moved =
              records.entrySet().stream()
                  .filter(one -> one.getKey().subject().equals(previous))
                  .map(Map.Entry::getValue)
                  .toList();
          records.keySet().removeIf(place -> place.subject().equals(previous));
          for (WatchedRecord record : moved) {
            records.put(Slot.of(subject, record), record);
          }
        }
        // Who decides by itself needs topics and holds; this program asks the server.
        case SET_TOPIC, SET_HOLD, REMOVE_HOLD_ID -> {}
        default -> throw new ResyncException("a change of a later version");
      }
    }
    revision = changes.getThrough();
    token = changes.getToken();
    Main.say(
        "changes",
        Map.of("after", changes.getAfter(), "through", revision, "records", records.size()));
  }

  /**
   * Learns how old what is known is: as old as the sending of the probe that came back, and as the
   * source's own knowledge was then.
   */
  private void hear(Heartbeat heartbeat) throws ResyncException {
    if (token.isEmpty() || draft != null) {
      return; // a snapshot is awaited, or under way
    }
    if (heartbeat.getThrough() != revision) {
      throw new ResyncException("a gap");
    }
    Long sent = probes.get(heartbeat.getProbe());
    if (sent == null || isLive) {
      return;
    }
    Duration age =
        Duration.ofNanos(System.nanoTime() - sent).plusMillis(heartbeat.getSourceAgeMs());
    if (age.compareTo(Follower.MAX_STALENESS) < 0) {
      isLive = true;
      Main.say(
          "live",
          Map.of("revision", revision, "records", records.size(), "age_ms", age.toMillis()));
    }
  }

  private static MessageDigest sha256() {
    try {
      return MessageDigest.getInstance("SHA-256");
    } catch (NoSuchAlgorithmException error) {
      throw new IllegalStateException(error); // every Java has it
    }
  }
}
