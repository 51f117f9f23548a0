// The example asks heed, tells it what people choose, and follows its log.
//
//	example may-send < LINES            EMAIL TOPIC, and `mandatory` where the caller knows it so
//	example opt-out EMAIL TOPIC KEY     and a check that must know of it
//	example watch NAME                  for ever
//
// It writes one JSON object a line. HEED_ADDRESS and HEED_API_KEY say where and by what key,
// HEED_CHECK_SECONDS and HEED_WRITE_SECONDS how long a call may take.
package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	heed "heed.dev/examples/go/gen/heed/v1"
)

type fields map[string]any

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(arguments []string) error {
	ctx := context.Background()
	switch {
	case len(arguments) == 1 && arguments[0] == "may-send":
		return answerLines(ctx)
	case len(arguments) == 4 && arguments[0] == "opt-out":
		return optOutAndCheck(ctx, arguments[1], arguments[2], arguments[3])
	case len(arguments) == 2 && arguments[0] == "watch":
		return watch(ctx, arguments[1])
	}
	return fmt.Errorf("say may-send, opt-out EMAIL TOPIC KEY, or watch NAME")
}

func answerLines(ctx context.Context) error {
	client, err := asking()
	if err != nil {
		return err
	}
	deadline, err := seconds("HEED_CHECK_SECONDS", "1")
	if err != nil {
		return err
	}
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		words := strings.Fields(lines.Text())
		mandatory := len(words) == 3 && words[2] == "mandatory"
		send, why := maySend(ctx, client, aboutEmail(words[0], words[1], ""), deadline, mandatory)
		say("check", fields{"send": send, "why": why})
	}
	return nil
}

func optOutAndCheck(ctx context.Context, email, topic, key string) error {
	client, err := asking()
	if err != nil {
		return err
	}
	deadline, err := seconds("HEED_WRITE_SECONDS", "2")
	if err != nil {
		return err
	}
	answer, err := optOut(ctx, client, email, topic, key, deadline)
	if err != nil {
		return err
	}
	say("opted out", fields{
		"revision": answer.Position.Revision,
		"replayed": answer.Replayed,
		"standing": len(answer.Standing),
	})
	// The token makes whoever answers, another node or an agent, know of the opt-out first.
	question := aboutEmail(email, topic, answer.Position.Token)
	send, why := maySend(ctx, client, question, deadline, false)
	say("check", fields{"send": send, "why": why})
	return nil
}

func watch(ctx context.Context, name string) error {
	connection, err := connect(address(), os.Getenv("HEED_API_KEY"), watchConfig)
	if err != nil {
		return err
	}
	newFollower(heed.NewWatchServiceClient(connection), name).follow(ctx)
	return nil
}

func asking() (heed.PreferenceServiceClient, error) {
	connection, err := connect(address(), os.Getenv("HEED_API_KEY"), serviceConfig)
	if err != nil {
		return nil, err
	}
	return heed.NewPreferenceServiceClient(connection), nil
}

func seconds(name, otherwise string) (time.Duration, error) {
	said, err := strconv.ParseFloat(cmp.Or(os.Getenv(name), otherwise), 64)
	return time.Duration(said * float64(time.Second)), err
}

func address() string {
	return cmp.Or(os.Getenv("HEED_ADDRESS"), "127.0.0.1:50051")
}

func say(event string, more fields) {
	more["event"] = event
	line, err := json.Marshal(more)
	if err != nil {
		panic(err)
	}
	fmt.Println(string(line))
}
