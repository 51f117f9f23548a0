import { type Metadata, type ServiceError, status } from "@grpc/grpc-js";

import {
  type CheckSuppressionResponse,
  type PreferenceServiceClient,
  type SetPreferenceResponse,
  CheckSuppressionRequest,
  SetPreferenceRequest,
} from "../gen/heed/v1/preference_service.js";
import { Channel, Method, Verdict } from "../gen/heed/v1/types.js";

export interface Answer {
  send: boolean;
  why: string;
}

/**
 * Says whether to send. `mandatory` is what the caller itself knows of the topic, never what heed
 * said: where no answer can be had, such a message goes out all the same.
 */
export async function maySend(
  client: PreferenceServiceClient,
  metadata: Metadata,
  request: CheckSuppressionRequest,
  deadlineSeconds: number,
  mandatory: boolean,
): Promise<Answer> {
  let answer: CheckSuppressionResponse;
  try {
    answer = await new Promise((resolve, reject) => {
      const deadline = Date.now() + deadlineSeconds * 1000;
      client.checkSuppression(request, metadata, { deadline }, (error, given) =>
        error ? reject(error) : resolve(given),
      );
    });
  } catch (error) {
    switch ((error as ServiceError).code) {
      case status.UNAVAILABLE:
      case status.DEADLINE_EXCEEDED:
        return { send: mandatory, why: "no answer" };
      default: // a malformed question, a key that is wrong: no reason to send anything
        return { send: false, why: "refused" };
    }
  }
  switch (answer.decision?.verdict) {
    case Verdict.VERDICT_ALLOWED:
      return { send: true, why: "allowed" };
    case Verdict.VERDICT_SUPPRESSED:
      return { send: false, why: "suppressed" };
    default: // zero, or of a later version
      return { send: false, why: "unknown verdict" };
  }
}

/**
 * Records that a person wants no more of a topic by email. With the same key it happens once,
 * however often it is called.
 */
export function optOut(
  client: PreferenceServiceClient,
  metadata: Metadata,
  email: string,
  topic: string,
  key: string,
  deadlineSeconds: number,
): Promise<SetPreferenceResponse> {
  const request = SetPreferenceRequest.fromPartial({
    idempotencyKey: key,
    subjects: [{ identifier: { $case: "email", value: email } }],
    choices: [
      {
        scope: { channel: Channel.CHANNEL_EMAIL, topic },
        act: { $case: "optOut", value: {} },
      },
    ],
    origin: { source: "example-typescript", method: Method.METHOD_WEB_FORM },
  });
  return new Promise((resolve, reject) => {
    const deadline = Date.now() + deadlineSeconds * 1000;
    client.setPreference(request, metadata, { deadline }, (error, given) =>
      error ? reject(error) : resolve(given),
    );
  });
}

/** Asks about one message; with a token, at what that token knows or later. */
export function aboutEmail(email: string, topic: string, token = ""): CheckSuppressionRequest {
  return CheckSuppressionRequest.fromPartial({
    query: {
      subjects: [{ identifier: { $case: "email", value: email } }],
      channel: Channel.CHANNEL_EMAIL,
      topic,
    },
    token,
  });
}
