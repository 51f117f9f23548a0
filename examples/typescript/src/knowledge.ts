import { type Hash, createHash } from "node:crypto";

import { RecordKind } from "../gen/heed/v1/types.js";
import {
  type Changes,
  type Heartbeat,
  type SnapshotBegin,
  type SnapshotEnd,
  type WatchChangesResponse,
  type WatchedRecord,
  SnapshotRecords,
  resyncReasonToJSON,
} from "../gen/heed/v1/watch_service.js";
import { say } from "./say.js";

export const MAX_STALENESS_MS = 5_000;
/** How many probes may be on their way. */
const PROBES_KEPT = 10n;

/** What is known does not go together with what is told: begin anew. */
export class ResyncError extends Error {
  constructor(why: string) {
    super(`resync: ${why}`);
  }
}

/** A snapshot under way. Until it is whole, absence says nothing. */
interface Draft {
  begin: SnapshotBegin;
  records: Map<string, WatchedRecord>;
  checksum: Hash;
}

/**
 * What one subscriber was told. It outlives its streams; who keeps it on disk keeps the token with
 * the records, in one transaction: a token ahead of its records is a gap that nobody finds.
 */
export class Knowledge {
  token = "";
  private epoch = "";
  private revision = 0n;
  private records = new Map<string, WatchedRecord>();

  // Of the stream that is read now.
  private draft: Draft | undefined;
  private isLive = false;
  private probes = new Map<bigint, number>();
  private lastProbe = 0n;

  /** Makes ready for another stream. */
  begin(): void {
    this.draft = undefined;
    this.isLive = false;
    this.probes.clear();
    this.lastProbe = 0n;
  }

  /** Drops everything: the next stream begins with a snapshot. */
  forget(): void {
    this.token = "";
    this.revision = 0n;
    this.records = new Map();
  }

  /** Notes that a probe is sent now; says its number, and what was applied. */
  nextProbe(): { probe: bigint; appliedRevision: bigint } {
    this.lastProbe += 1n;
    this.probes.set(this.lastProbe, performance.now());
    this.probes.delete(this.lastProbe - PROBES_KEPT);
    return { probe: this.lastProbe, appliedRevision: this.revision };
  }

  /** Applies one message, all of it or nothing. */
  take(message: WatchChangesResponse): void {
    const event = message.event;
    switch (event?.$case) {
      case "opened": {
        const epoch = Buffer.from(event.value.epoch).toString("hex");
        if (epoch !== this.epoch) {
          this.forget(); // restored, or another store
        }
        this.epoch = epoch;
        return;
      }
      case "snapshotBegin":
        this.draft = { begin: event.value, records: new Map(), checksum: createHash("sha256") };
        return;
      case "snapshotChunk":
        return this.add(event.value.records);
      case "snapshotEnd":
        return this.replace(event.value);
      case "changes":
        return this.apply(event.value);
      case "heartbeat":
        return this.hear(event.value);
      default: // of a later version: it may have been a change
        throw new ResyncError("an event of a later version");
    }
  }

  private add(chunk: Uint8Array): void {
    const draft = this.drafted();
    draft.checksum.update(chunk);
    for (const { subjectKey, records } of SnapshotRecords.decode(chunk).subjects) {
      for (const record of records) {
        draft.records.set(slotOf(subjectKey, record), record);
      }
    }
  }

  /** Puts a whole snapshot in the place of what was known. */
  private replace(end: SnapshotEnd): void {
    const { begin, records, checksum } = this.drafted();
    this.draft = undefined;
    if (BigInt(records.size) !== end.recordCount || !checksum.digest().equals(end.checksum)) {
      throw new ResyncError("the snapshot is damaged");
    }
    this.records = records;
    this.revision = begin.revision;
    this.token = end.token;
    say("snapshot", {
      reason: resyncReasonToJSON(begin.reason).replace("RESYNC_REASON_", ""),
      revision: Number(this.revision),
      records: records.size,
    });
  }

  /** Moves from `after` to `through`. */
  private apply(changes: Changes): void {
    if (this.token === "" || this.draft !== undefined || changes.after !== this.revision) {
      throw new ResyncError("a gap");
    }
    for (const { subjectKey, effect } of changes.changes) {
      switch (effect?.$case) {
        case "setRecord":
          this.records.set(slotOf(subjectKey, effect.value), effect.value);
          break;
        case "removeRecord":
          this.records.delete(slotOf(subjectKey, effect.value));
          break;
        case "setRecords": {
          const subject = `${Buffer.from(subjectKey).toString("hex")} `;
          for (const place of [...this.records.keys()]) {
            if (place.startsWith(subject)) {
              this.records.delete(place);
            }
          }
          for (const record of effect.value.records) {
            this.records.set(slotOf(subjectKey, record), record);
          }
          break;
        }
        case "rekey": {
          // All of one subject is of another key since. Without a subject a lookup key began to be
          // used: for who looks people up, and this program looks nobody up.
          const previous = `${Buffer.from(effect.value.previousSubjectKey).toString("hex")} `;
          for (const [place, record] of [...this.records]) {
            if (place.startsWith(previous)) {
              this.records.delete(place);
              this.records.set(slotOf(subjectKey, record), record);
            }
          }
          break;
        }
        case "setTopic":
        case "setHold":
        case "removeHoldId":
          break; // who decides by itself needs topics and holds; this program asks the server
        default:
          throw new ResyncError("a change of a later version");
      }
    }
    this.revision = changes.through;
    this.token = changes.token;
    say("changes", {
      after: Number(changes.after),
      through: Number(this.revision),
      records: this.records.size,
    });
  }

  /**
   * Learns how old what is known is: as old as the sending of the probe that came back, and as the
   * source's own knowledge was then.
   */
  private hear(heartbeat: Heartbeat): void {
    if (this.token === "" || this.draft !== undefined) {
      return; // a snapshot is awaited, or under way
    }
    if (heartbeat.through !== this.revision) {
      throw new ResyncError("a gap");
    }
    const sent = this.probes.get(heartbeat.probe);
    if (sent === undefined || this.isLive) {
      return;
    }
    const age = performance.now() - sent + Number(heartbeat.sourceAgeMs);
    if (age < MAX_STALENESS_MS) {
      this.isLive = true;
      say("live", {
        revision: Number(this.revision),
        records: this.records.size,
        age_ms: Math.round(age),
      });
    }
  }

  private drafted(): Draft {
    if (this.draft === undefined) {
      throw new ResyncError("a snapshot without a beginning");
    }
    return this.draft;
  }
}

/** The place of a record: one that is set replaces what stood there. */
function slotOf(subject: Uint8Array, record: WatchedRecord): string {
  const isOfOnePlace =
    record.kind === RecordKind.RECORD_KIND_PAUSE ||
    record.kind === RecordKind.RECORD_KIND_QUIET_HOURS;
  return [
    Buffer.from(subject).toString("hex"),
    record.kind,
    record.cause,
    isOfOnePlace ? 0 : record.reach, // one place for all reaches
    record.channel,
    record.topic,
  ].join(" ");
}
