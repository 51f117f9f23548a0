package dev.heed.example;

import com.google.gson.Gson;
import com.google.gson.reflect.TypeToken;
import io.grpc.ChannelCredentials;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.TlsChannelCredentials;
import io.grpc.stub.MetadataUtils;
import java.util.Map;
import java.util.concurrent.TimeUnit;

/** How to reach heed. */
final class Connection {
  /**
   * What gRPC does by itself: calls go round robin over the addresses of a name, and UNAVAILABLE is
   * tried again. A write may be, because its key makes it happen once.
   */
  static final String SERVICE_CONFIG =
      """
      {
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
      }
      """;

  /** A stream and its probes must reach one node, and its reader backs off by itself. */
  static final String WATCH_CONFIG = "{\"loadBalancingConfig\": [{\"pick_first\": {}}]}";

  private Connection() {}

  /** Opens a channel: `host:port`, over TLS unless the host is loopback, or `unix:/path`. */
  static ManagedChannel connect(String address, String key, String config) {
    boolean isSocket = address.startsWith("unix:");
    boolean isLocal =
        isSocket || address.startsWith("127.") || address.startsWith("localhost:");
    ChannelCredentials credentials =
        isLocal ? InsecureChannelCredentials.create() : TlsChannelCredentials.create();
    Map<String, ?> read = new Gson().fromJson(config, new TypeToken<Map<String, ?>>() {}.getType());
    return Grpc.newChannelBuilder(isSocket ? address : "dns:///" + address, credentials)
        .defaultServiceConfig(read)
        .intercept(MetadataUtils.newAttachHeadersInterceptor(bearer(key)))
        // Finds a connection that is half open. The server takes a ping every 10 s.
        .keepAliveTime(20, TimeUnit.SECONDS)
        .keepAliveTimeout(5, TimeUnit.SECONDS)
        .keepAliveWithoutCalls(true)
        .maxInboundMessageSize(16 << 20)
        .build();
  }

  private static Metadata bearer(String key) {
    Metadata metadata = new Metadata();
    if (!key.isEmpty()) {
      metadata.put(
          Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER), "Bearer " + key);
    }
    return metadata;
  }
}
