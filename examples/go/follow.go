package main

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	heed "heed.dev/examples/go/gen/heed/v1"
)

const (
	maxStaleness = 5 * time.Second
	openWait     = 10 * time.Second
	firstWait    = 250 * time.Millisecond
	waitMax      = 30 * time.Second
	calmAfter    = time.Minute
)

// follower opens stream after stream, and goes on from where it stands.
type follower struct {
	client heed.WatchServiceClient
	name   string
	known  *knowledge
}

func newFollower(client heed.WatchServiceClient, name string) *follower {
	return &follower{client: client, name: name, known: &knowledge{}}
}

// follow reads for as long as ctx lives.
func (f *follower) follow(ctx context.Context) {
	wait := firstWait
	for ctx.Err() == nil {
		began := time.Now()
		pause, why := f.stream(ctx)
		say("lost", fields{"why": why.Error()})
		if errors.Is(why, errResync) || status.Code(why) == codes.InvalidArgument {
			f.known.startAnew()
		}
		if time.Since(began) >= calmAfter {
			wait = firstWait
		}
		if pause == 0 { // full jitter: a thousand readers do not come back at once
			pause = rand.N(wait)
			wait = min(2*wait, waitMax)
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
	}
}

// stream reads one stream to its end: how long to wait before the next, and why it ended.
func (f *follower) stream(ctx context.Context) (time.Duration, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	// A stream that is silent is as good as dead, whatever TCP believes.
	silence := openWait
	watchdog := time.AfterFunc(silence, func() { cancel(errors.New("silent")) })
	defer watchdog.Stop()

	stream, err := f.client.WatchChanges(ctx, &heed.WatchChangesRequest{
		Subscriber: f.name, Token: f.known.token, MaxStaleness: durationpb.New(maxStaleness),
	}, grpc.WaitForReady(true))
	if err != nil {
		return 0, err
	}
	f.known.begin()
	for {
		message, err := stream.Recv()
		if ctx.Err() != nil {
			return 0, context.Cause(ctx)
		}
		if err != nil {
			return 0, err
		}
		if opened := message.GetOpened(); opened != nil {
			silence = 3 * opened.HeartbeatInterval.AsDuration()
			go f.probe(ctx, cancel, opened.StreamId)
		}
		watchdog.Reset(silence)
		if draining := message.GetDraining(); draining != nil {
			return draining.ReconnectAfter.AsDuration(), errors.New("draining")
		}
		if err := f.known.take(message); err != nil {
			return 0, err
		}
	}
}

// probe tells how far this reader is, and asks how old what it knows is, for as long as ctx lives.
func (f *follower) probe(ctx context.Context, cancel context.CancelCauseFunc, streamID string) {
	every := time.NewTicker(maxStaleness / 3)
	defer every.Stop()
	for ctx.Err() == nil {
		number, revision := f.known.nextProbe()
		limited, done := context.WithTimeout(ctx, time.Second)
		_, err := f.client.ReportApplied(limited, &heed.ReportAppliedRequest{
			StreamId: streamID, AppliedRevision: revision, Probe: number,
		})
		done()
		if status.Code(err) == codes.NotFound { // it is over, or at another node
			cancel(errors.New("the stream is unknown"))
			return
		}
		select {
		case <-every.C:
		case <-ctx.Done():
		}
	}
}
