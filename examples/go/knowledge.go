package main

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	heed "heed.dev/examples/go/gen/heed/v1"
)

// errResync says that what is known does not go together with what is told: begin anew.
var errResync = errors.New("resync")

// probesKept is how many probes may be on their way.
const probesKept = 10

// slot is the place of a record: one that is set replaces what stood there.
type slot struct {
	subject string
	kind    heed.RecordKind
	cause   heed.Cause
	reach   heed.Reach
	channel heed.Channel
	topic   string
}

func slotOf(subject []byte, record *heed.WatchedRecord) slot {
	reach := record.Reach
	switch record.Kind { // these have one place for all reaches
	case heed.RecordKind_RECORD_KIND_PAUSE, heed.RecordKind_RECORD_KIND_QUIET_HOURS:
		reach = heed.Reach_REACH_UNSPECIFIED
	}
	return slot{string(subject), record.Kind, record.Cause, reach, record.Channel, record.Topic}
}

// knowledge is what one subscriber was told. It outlives its streams; who keeps it on disk keeps
// the token with the records, in one transaction: a token ahead of its records is a gap that
// nobody finds.
type knowledge struct {
	mutex    sync.Mutex // the probes are sent beside the reading
	epoch    []byte
	token    string
	revision int64
	records  map[slot]*heed.WatchedRecord

	// Of the stream that is read now.
	draft  *draft
	live   bool
	probes map[int64]time.Time
	last   int64
}

// draft is a snapshot under way. Until it is whole, absence says nothing.
type draft struct {
	begin    *heed.SnapshotBegin
	records  map[slot]*heed.WatchedRecord
	checksum hash.Hash
}

// begin makes ready for another stream.
func (k *knowledge) begin() {
	k.mutex.Lock()
	defer k.mutex.Unlock()
	k.draft, k.live, k.probes, k.last = nil, false, map[int64]time.Time{}, 0
}

// startAnew drops everything: the next stream begins with a snapshot.
func (k *knowledge) startAnew() {
	k.mutex.Lock()
	defer k.mutex.Unlock()
	k.forget()
}

func (k *knowledge) forget() {
	k.token, k.revision, k.records = "", 0, nil
}

// take applies one message, all of it or nothing.
func (k *knowledge) take(message *heed.WatchChangesResponse) error {
	k.mutex.Lock()
	defer k.mutex.Unlock()
	switch event := message.Event.(type) {
	case *heed.WatchChangesResponse_Opened:
		if !bytes.Equal(event.Opened.Epoch, k.epoch) { // restored, or another store
			k.forget()
		}
		k.epoch = event.Opened.Epoch
	case *heed.WatchChangesResponse_SnapshotBegin:
		k.draft = &draft{event.SnapshotBegin, map[slot]*heed.WatchedRecord{}, sha256.New()}
	case *heed.WatchChangesResponse_SnapshotChunk:
		return k.draft.add(event.SnapshotChunk.Records)
	case *heed.WatchChangesResponse_SnapshotEnd:
		return k.replace(event.SnapshotEnd)
	case *heed.WatchChangesResponse_Changes:
		return k.apply(event.Changes)
	case *heed.WatchChangesResponse_Heartbeat:
		return k.hear(event.Heartbeat)
	default: // of a later version: it may have been a change
		return fmt.Errorf("%w: an event of a later version", errResync)
	}
	return nil
}

func (d *draft) add(chunk []byte) error {
	d.checksum.Write(chunk)
	var told heed.SnapshotRecords
	if err := proto.Unmarshal(chunk, &told); err != nil {
		return fmt.Errorf("%w: %w", errResync, err)
	}
	for _, subject := range told.Subjects {
		for _, record := range subject.Records {
			d.records[slotOf(subject.SubjectKey, record)] = record
		}
	}
	return nil
}

// replace puts a whole snapshot in the place of what was known.
func (k *knowledge) replace(end *heed.SnapshotEnd) error {
	whole := k.draft
	k.draft = nil
	if int64(len(whole.records)) != end.RecordCount ||
		!bytes.Equal(whole.checksum.Sum(nil), end.Checksum) {
		return fmt.Errorf("%w: the snapshot is damaged", errResync)
	}
	k.records, k.revision, k.token = whole.records, whole.begin.Revision, end.Token
	say("snapshot", fields{
		"reason":   strings.TrimPrefix(whole.begin.Reason.String(), "RESYNC_REASON_"),
		"revision": k.revision,
		"records":  len(k.records),
	})
	return nil
}

// apply moves from `after` to `through`.
func (k *knowledge) apply(changes *heed.Changes) error {
	if k.token == "" || k.draft != nil || changes.After != k.revision {
		return fmt.Errorf("%w: a gap", errResync)
	}
	for _, change := range changes.Changes {
		switch effect := change.Effect.(type) {
		case *heed.Change_SetRecord:
			k.records[slotOf(change.SubjectKey, effect.SetRecord)] = effect.SetRecord
		case *heed.Change_RemoveRecord:
			delete(k.records, slotOf(change.SubjectKey, effect.RemoveRecord))
		case *heed.Change_SetRecords:
			for place := range k.records {
				if place.subject == string(change.SubjectKey) {
					delete(k.records, place)
				}
			}
			for _, record := range effect.SetRecords.Records {
				k.records[slotOf(change.SubjectKey, record)] = record
			}
		case *heed.Change_Rekey:
			// All of one subject is of another key since. Without a subject a lookup key began to be
			// used: for who looks people up, and this program looks nobody up.
			for place, record := range k.records {
				if place.subject == string(effect.Rekey.PreviousSubjectKey) {
					delete(k.records, place)
					k.records[slotOf(change.SubjectKey, record)] = record
				}
			}
		case *heed.Change_SetTopic, *heed.Change_SetHold, *heed.Change_RemoveHoldId:
			// Who decides by itself needs topics and holds; this program asks the server.
		default:
			return fmt.Errorf("%w: a change of a later version", errResync)
		}
	}
	k.revision, k.token = changes.Through, changes.Token
	say("changes", fields{
		"after": changes.After, "through": k.revision, "records": len(k.records),
	})
	return nil
}

// hear learns how old what is known is: as old as the sending of the probe that came back, and as
// the source's own knowledge was then.
func (k *knowledge) hear(heartbeat *heed.Heartbeat) error {
	if k.token == "" || k.draft != nil {
		return nil // a snapshot is awaited, or under way
	}
	if heartbeat.Through != k.revision {
		return fmt.Errorf("%w: a gap", errResync)
	}
	sent, known := k.probes[heartbeat.Probe]
	if !known || k.live {
		return nil
	}
	age := time.Since(sent) + time.Duration(heartbeat.SourceAgeMs)*time.Millisecond
	if age < maxStaleness {
		k.live = true
		say("live", fields{
			"revision": k.revision, "records": len(k.records), "age_ms": age.Milliseconds(),
		})
	}
	return nil
}

// nextProbe notes that a probe is sent now, and says its number and what was applied.
func (k *knowledge) nextProbe() (number, revision int64) {
	k.mutex.Lock()
	defer k.mutex.Unlock()
	k.last++
	k.probes[k.last] = time.Now()
	delete(k.probes, k.last-probesKept)
	return k.last, k.revision
}
