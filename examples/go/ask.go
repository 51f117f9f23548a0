package main

import (
	"context"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	heed "heed.dev/examples/go/gen/heed/v1"
)

// maySend says whether to send, and why. `mandatory` is what the caller itself knows of the topic,
// never what heed said: where no answer can be had, such a message goes out all the same.
func maySend(
	ctx context.Context, client heed.PreferenceServiceClient, request *heed.CheckSuppressionRequest,
	deadline time.Duration, mandatory bool,
) (bool, string) {
	ctx, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	answer, err := client.CheckSuppression(ctx, request)
	switch code := status.Code(err); code {
	case codes.OK:
	case codes.Unavailable, codes.DeadlineExceeded:
		return mandatory, "no answer"
	default: // a malformed question, a key that is wrong: no reason to send anything
		return false, "refused"
	}
	switch answer.GetDecision().GetVerdict() {
	case heed.Verdict_VERDICT_ALLOWED:
		return true, "allowed"
	case heed.Verdict_VERDICT_SUPPRESSED:
		return false, "suppressed"
	default: // zero, or of a later version
		return false, "unknown verdict"
	}
}

// optOut records that a person wants no more of a topic by email. With the same key it happens
// once, however often it is called.
func optOut(
	ctx context.Context, client heed.PreferenceServiceClient, email, topic, key string,
	deadline time.Duration,
) (*heed.SetPreferenceResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	return client.SetPreference(ctx, &heed.SetPreferenceRequest{
		IdempotencyKey: key,
		Subjects:       []*heed.Subject{byEmail(email)},
		Choices: []*heed.Choice{{
			Scope: &heed.Scope{Channel: heed.Channel_CHANNEL_EMAIL, Topic: topic},
			Act:   &heed.Choice_OptOut{OptOut: &heed.OptOut{}},
		}},
		Origin: &heed.Origin{Source: "example-go", Method: heed.Method_METHOD_WEB_FORM},
	})
}

// aboutEmail asks about one message; with a token, at what that token knows or later.
func aboutEmail(email, topic, token string) *heed.CheckSuppressionRequest {
	return &heed.CheckSuppressionRequest{
		Query: &heed.Query{
			Subjects: []*heed.Subject{byEmail(email)},
			Channel:  heed.Channel_CHANNEL_EMAIL,
			Topic:    topic,
		},
		Token: token,
	}
}

func byEmail(email string) *heed.Subject {
	return &heed.Subject{Identifier: &heed.Subject_Email{Email: email}}
}
