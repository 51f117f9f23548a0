/**
 * Asks heed, tells it what people choose, and follows its log.
 *
 *     example may-send < LINES           EMAIL TOPIC, and `mandatory` where the caller knows it so
 *     example opt-out EMAIL TOPIC KEY    and a check that must know of it
 *     example watch NAME                 for ever
 *
 * It writes one JSON object a line. HEED_ADDRESS and HEED_API_KEY say where and by what key,
 * HEED_CHECK_SECONDS and HEED_WRITE_SECONDS how long a call may take.
 */
import { createInterface } from "node:readline";

import { PreferenceServiceClient } from "../gen/heed/v1/preference_service.js";
import { WatchServiceClient } from "../gen/heed/v1/watch_service.js";
import { aboutEmail, maySend, optOut } from "./ask.js";
import { SERVICE_CONFIG, WATCH_CONFIG, bearer, connection } from "./connection.js";
import { Follower } from "./follower.js";
import { say } from "./say.js";

const ADDRESS = process.env["HEED_ADDRESS"] ?? "127.0.0.1:50051";
const KEY = process.env["HEED_API_KEY"] ?? "";
const CHECK_SECONDS = Number(process.env["HEED_CHECK_SECONDS"] ?? "1");
const WRITE_SECONDS = Number(process.env["HEED_WRITE_SECONDS"] ?? "2");

async function main([command, ...rest]: string[]): Promise<void> {
  const [first = "", topic = "", key = ""] = rest;
  if (command === "may-send" && rest.length === 0) {
    await asking(answerLines);
  } else if (command === "opt-out" && rest.length === 3) {
    await asking((client) => optOutAndCheck(client, first, topic, key));
  } else if (command === "watch" && rest.length === 1) {
    const { target, credentials, options } = connection(ADDRESS, WATCH_CONFIG);
    const client = new WatchServiceClient(target, credentials, options);
    await new Follower(client, first, KEY).follow();
  } else {
    throw new Error("say may-send, opt-out EMAIL TOPIC KEY, or watch NAME");
  }
}

async function asking(act: (client: PreferenceServiceClient) => Promise<void>): Promise<void> {
  const { target, credentials, options } = connection(ADDRESS, SERVICE_CONFIG);
  const client = new PreferenceServiceClient(target, credentials, options);
  try {
    await act(client);
  } finally {
    client.close();
  }
}

async function answerLines(client: PreferenceServiceClient): Promise<void> {
  for await (const line of createInterface({ input: process.stdin })) {
    const [email = "", topic = "", known] = line.split(" ");
    const isMandatory = known === "mandatory";
    const question = aboutEmail(email, topic);
    say("check", await maySend(client, bearer(KEY), question, CHECK_SECONDS, isMandatory));
  }
}

async function optOutAndCheck(
  client: PreferenceServiceClient,
  email: string,
  topic: string,
  key: string,
): Promise<void> {
  const answer = await optOut(client, bearer(KEY), email, topic, key, WRITE_SECONDS);
  say("opted out", {
    revision: Number(answer.position?.revision),
    replayed: answer.replayed,
    standing: answer.standing.length,
  });
  // The token makes whoever answers, another node or an agent, know of the opt-out first.
  const question = aboutEmail(email, topic, answer.position?.token);
  say("check", await maySend(client, bearer(KEY), question, WRITE_SECONDS, false));
}

main(process.argv.slice(2)).catch((error: unknown) => {
  console.error(String(error));
  process.exitCode = 1;
});
