import { type ServiceError, status } from "@grpc/grpc-js";

import { Duration } from "../gen/google/protobuf/duration.js";
import {
  type WatchChangesResponse,
  type WatchServiceClient,
  ReportAppliedRequest,
  WatchChangesRequest,
} from "../gen/heed/v1/watch_service.js";
import { bearer } from "./connection.js";
import { Knowledge, MAX_STALENESS_MS, ResyncError } from "./knowledge.js";
import { say } from "./say.js";

const OPEN_MS = 10_000;
const FIRST_WAIT_MS = 250;
const WAIT_MS_MAX = 30_000;
const CALM_AFTER_MS = 60_000;

/** How a stream ended, and how long its node wants the next to wait, if it said so. */
interface End {
  why: string;
  pauseMs?: number;
  mustResync?: boolean;
}

/** Opens stream after stream, and goes on from where it stands. */
export class Follower {
  private readonly known = new Knowledge();

  constructor(
    private readonly client: WatchServiceClient,
    private readonly name: string,
    private readonly key: string,
  ) {}

  /** Reads for ever. */
  async follow(): Promise<never> {
    let wait = FIRST_WAIT_MS;
    for (;;) {
      const began = performance.now();
      const end = await this.stream();
      say("lost", { why: end.why });
      if (end.mustResync) {
        this.known.forget();
      }
      if (performance.now() - began >= CALM_AFTER_MS) {
        wait = FIRST_WAIT_MS;
      }
      let pause = end.pauseMs;
      if (pause === undefined) {
        pause = Math.random() * wait; // full jitter: a thousand readers do not come back at once
        wait = Math.min(2 * wait, WAIT_MS_MAX);
      }
      await new Promise((resolve) => setTimeout(resolve, pause));
    }
  }

  /** Reads one stream to its end. */
  private stream(): Promise<End> {
    this.known.begin();
    const request = WatchChangesRequest.fromPartial({
      subscriber: this.name,
      token: this.known.token,
      maxStaleness: { seconds: BigInt(MAX_STALENESS_MS / 1000) },
    });
    const call = this.client.watchChanges(request, bearer(this.key, true));
    return new Promise((resolve) => {
      let probing: NodeJS.Timeout | undefined;
      const finish = (end: End) => {
        clearTimeout(watchdog);
        clearInterval(probing);
        call.removeAllListeners("data");
        call.cancel();
        resolve(end); // the first of several counts
      };
      // A stream that is silent is as good as dead, whatever TCP believes.
      const onSilence = () => finish({ why: "silent" });
      let silenceMs = OPEN_MS;
      let watchdog = setTimeout(onSilence, silenceMs);

      call.on("data", (message: WatchChangesResponse) => {
        if (message.event?.$case === "opened") {
          const { streamId, heartbeatInterval } = message.event.value;
          silenceMs = 3 * milliseconds(heartbeatInterval);
          const probe = () => this.probe(streamId, finish);
          probing = setInterval(probe, MAX_STALENESS_MS / 3);
          probe();
        }
        clearTimeout(watchdog);
        watchdog = setTimeout(onSilence, silenceMs);
        if (message.event?.$case === "draining") {
          const pauseMs = milliseconds(message.event.value.reconnectAfter);
          finish({ why: "draining", pauseMs });
          return;
        }
        try {
          this.known.take(message);
        } catch (error) {
          finish({ why: String(error), mustResync: error instanceof ResyncError });
        }
      });
      call.on("error", (error: ServiceError) => {
        finish({ why: error.message, mustResync: error.code === status.INVALID_ARGUMENT });
      });
      call.on("end", () => finish({ why: "the stream ended" }));
    });
  }

  /** Tells how far this reader is, and asks how old what it knows is. */
  private probe(streamId: string, finish: (end: End) => void): void {
    const request = ReportAppliedRequest.fromPartial({ streamId, ...this.known.nextProbe() });
    const deadline = Date.now() + 1000;
    this.client.reportApplied(request, bearer(this.key), { deadline }, (error) => {
      // It is over, or at another node. After any other failure the next probe says more.
      if (error?.code === status.NOT_FOUND) {
        finish({ why: "the stream is unknown" });
      }
    });
  }
}

function milliseconds(duration: Duration | undefined): number {
  return Number(duration?.seconds ?? 0n) * 1000 + (duration?.nanos ?? 0) / 1e6;
}
