package main

import (
	"context"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
)

// What gRPC does by itself: calls go round robin over the addresses of a name, and UNAVAILABLE is
// tried again. A write may be, because its key makes it happen once.
const serviceConfig = `{
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
}`

// A stream and its probes must reach one node, and the stream's reader backs off by itself.
const watchConfig = `{"loadBalancingConfig": [{"pick_first": {}}]}`

// connect opens a channel: `host:port`, over TLS unless the host is loopback, or `unix:/path`.
func connect(address, key, config string) (*grpc.ClientConn, error) {
	target, transport := address, insecure.NewCredentials()
	if !strings.HasPrefix(address, "unix:") {
		target = "dns:///" + address
		if !strings.HasPrefix(address, "127.") && !strings.HasPrefix(address, "localhost:") {
			transport = credentials.NewTLS(nil)
		}
	}
	return grpc.NewClient(target,
		grpc.WithTransportCredentials(transport),
		grpc.WithPerRPCCredentials(bearer(key)),
		grpc.WithDefaultServiceConfig(config),
		// Finds a connection that is half open. The server takes a ping every 10 s.
		grpc.WithKeepaliveParams(keepalive.ClientParameters{
			Time: 20 * time.Second, Timeout: 5 * time.Second, PermitWithoutStream: true,
		}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(16<<20)))
}

// bearer sends an API key with each call; empty sends none.
type bearer string

func (key bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	if key == "" {
		return nil, nil
	}
	return map[string]string{"authorization": "Bearer " + string(key)}, nil
}

// RequireTransportSecurity is false for loopback and unix sockets; connect sees to the others.
func (bearer) RequireTransportSecurity() bool { return false }
