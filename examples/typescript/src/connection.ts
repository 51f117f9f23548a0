import { type ChannelOptions, Metadata, credentials } from "@grpc/grpc-js";

/**
 * What gRPC does by itself: calls go round robin over the addresses of a name, and UNAVAILABLE is
 * tried again. A write may be, because its key makes it happen once.
 */
export const SERVICE_CONFIG = `{
  "loadBalancingConfig": [{"round_robin": {}}],
  "methodConfig": [
    {
      "name": [
        {"service": "heed.v1.PreferenceService", "method": "CheckSuppression"},
        {"service": "heed.v1.PreferenceService", "method": "BatchCheckSuppression"},
        {"service": "heed.v1.PreferenceService", "method": "GetPreferences"}
      ],
      "retryPolicy": {
        "maxAttempts": 3,
        "initialBackoff": "0.02s",
        "maxBackoff": "0.2s",
        "backoffMultiplier": 2,
        "retryableStatusCodes": ["UNAVAILABLE", "CANCELLED"]
      }
    },
    {
      "name": [
        {"service": "heed.v1.PreferenceService", "method": "SetPreference"},
        {"service": "heed.v1.PreferenceService", "method": "BatchSetPreferences"}
      ],
      "retryPolicy": {
        "maxAttempts": 3,
        "initialBackoff": "0.1s",
        "maxBackoff": "1s",
        "backoffMultiplier": 2,
        "retryableStatusCodes": ["UNAVAILABLE", "CANCELLED"]
      }
    }
  ],
  "retryThrottling": {"maxTokens": 50, "tokenRatio": 0.1}
}`;

/** A stream and its probes must reach one node, and the stream's reader backs off by itself. */
export const WATCH_CONFIG = `{"loadBalancingConfig": [{"pick_first": {}}]}`;

/** How to reach an address: `host:port`, over TLS unless the host is loopback, or `unix:/path`. */
export function connection(address: string, config: string) {
  const isSocket = address.startsWith("unix:");
  const isLocal = isSocket || address.startsWith("127.") || address.startsWith("localhost:");
  const options: ChannelOptions = {
    "grpc.service_config": config,
    // Finds a connection that is half open. The server takes a ping every 10 s.
    "grpc.keepalive_time_ms": 20_000,
    "grpc.keepalive_timeout_ms": 5_000,
    "grpc.keepalive_permit_without_calls": 1,
    "grpc.initial_reconnect_backoff_ms": 250,
    "grpc.max_reconnect_backoff_ms": 5_000,
    "grpc.max_receive_message_length": 16 << 20,
    "grpc.enable_http_proxy": isLocal ? 0 : 1,
  };
  return {
    target: isSocket ? address : `dns:///${address}`,
    credentials: isLocal ? credentials.createInsecure() : credentials.createSsl(),
    options,
  };
}

/** What goes with each call: the API key, if there is one. */
export function bearer(key: string, waitForReady = false): Metadata {
  const metadata = new Metadata({ waitForReady });
  if (key !== "") {
    metadata.set("authorization", `Bearer ${key}`);
  }
  return metadata;
}
