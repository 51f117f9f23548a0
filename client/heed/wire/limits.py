"""Every bound of a request and of an answer, in one place.

Laws:
- Whatever a request can hold has a bound here, and the bound is checked before the work it bounds.
- docs/limits.md is this module as a table; tests/docs/test_limits.py compares them.
- Bounds of the contract: making one smaller breaks callers, so none ever gets smaller.
- No number stands twice: what a pure module bounds itself is that module's, and named here.
"""

from typing import Final

from heed import hours, model, topics

MESSAGE_BYTES_MAX: Final = 4 * 1024 * 1024
"""Bytes of one message, either way; a larger one never reaches a handler."""

SUBJECTS_MAX: Final = 8
"""Identifiers of one person."""
SUBJECT_CHARACTERS_MAX: Final = model.SUBJECT_CHARACTERS_MAX

TOPIC_CHARACTERS_MAX: Final = topics.TOPIC_CHARACTERS_MAX
TOPIC_LABELS_MAX: Final = topics.TOPIC_LABELS_MAX
TOPIC_LABEL_CHARACTERS_MAX: Final = topics.TOPIC_LABEL_CHARACTERS_MAX
TOPIC_TITLE_CHARACTERS_MAX: Final = 200
CAMPAIGN_CHARACTERS_MAX: Final = 200

QUERIES_MAX: Final = 10_000
"""Messages asked about in one BatchCheckSuppression."""
STREAM_QUERIES_MAX: Final = 100
"""Messages asked about in one request of StreamCheckSuppression."""
MESSAGE_REFERENCE_CHARACTERS_MAX: Final = 128
"""Characters of a sender's own name of a message, as the decision log has it."""
TOKEN_CHARACTERS_MAX: Final = 128
"""Characters of a token of any version, as a follower takes it; this version's have 39."""

CHOICES_MAX: Final = 50
"""Choices of one person in one call."""
PEOPLE_MAX: Final = 1_000
"""People in one BatchSetPreferences."""
BATCH_RECORDS_MAX: Final = 10_000
"""Records (subjects times choices) of one BatchSetPreferences."""
QUIET_PERIODS_MAX: Final = hours.QUIET_PERIODS_MAX
"""Periods of quiet that a person can name at one scope."""
LINKS_MAX: Final = 1_000
"""Links made by one MakeLinks, and by one MakePageLinks."""
STILL_SENT_TOPICS_MAX: Final = model.STILL_SENT_TOPICS_MAX

IDEMPOTENCY_KEY_CHARACTERS_MAX: Final = 128
TENANT_CHARACTERS_MAX: Final = 63
SOURCE_CHARACTERS_MAX: Final = 128
ACTOR_CHARACTERS_MAX: Final = 128
REFERENCE_CHARACTERS_MAX: Final = 256
JURISDICTION_CHARACTERS_MAX: Final = 6
EVIDENCE_CHARACTERS_MAX: Final = 500
"""Characters of each part of an evidence."""
REASON_CHARACTERS_MAX: Final = model.REASON_CHARACTERS_MAX
HOLD_ID_CHARACTERS_MAX: Final = 64
APPROVAL_ID_CHARACTERS_MAX: Final = 64

IPV4_PREFIX_MAX: Final = 24
IPV6_PREFIX_MAX: Final = 48

SECONDS_MAX: Final = model.SECONDS_MAX
"""The last second of the year 9999; the first that is taken is 0, the start of 1970."""

SUPPRESSIONS_MAX: Final = 1_000
"""Suppressions in one AddSuppressions."""
IMPORT_ROWS_MAX: Final = 5_000
BATCH_ID_CHARACTERS_MAX: Final = 100
REVERT_PEOPLE_MAX: Final = 1_000
"""People of whom a batch is undone in one transaction."""
RELEASES_PART_MAX: Final = 5_000
"""Suppressions that are released in one transaction; more where they are one person's."""
RELEASES_MAX: Final = 1_000_000
"""Suppressions released by one ReleaseSuppressions."""
OFFERED_RECORDS_MAX: Final = 1_000
"""Records in one OfferRecords."""
OFFERED_HOLDS_MAX: Final = 100
"""Holds in one OfferRecords."""
EARLIER_EPOCHS_MAX: Final = 64
"""Earlier lives of the store that a stream tells of; of an older one nothing is known."""
EXPORT_RECORDS_MAX: Final = 500
"""Records in one message of ExportRecords."""
PAGE_SIZE_MAX: Final = 1_000
PAGE_SIZE_DEFAULT: Final = 100
PAGE_TOKEN_CHARACTERS_MAX: Final = 1_024
DEAD_LETTERS_NAMED_MAX: Final = 1_000
"""Dead letters that one call names."""
LETTER_ID_CHARACTERS_MAX: Final = 100
TARGET_CHARACTERS_MAX: Final = 64

WAIT_PROPAGATED_SECONDS_MAX: Final = 30
"""Of the wait of a SetPreference until everybody has applied it."""
SUBSCRIBER_CHARACTERS_MAX: Final = 128
"""Printable ASCII characters of a subscriber's name."""
INSTANCE_CHARACTERS_MAX: Final = 64
STREAM_ID_CHARACTERS_MAX: Final = 64
WATCH_CHANNELS_MAX: Final = 64
"""Channels that a stream of changes may be filtered by, those named twice too."""
WATCH_TOPICS_MAX: Final = 100
"""Topics that a stream of changes may be filtered by."""
STALENESS_SECONDS_MIN: Final = 1
STALENESS_SECONDS_MAX: Final = 3_600
"""What a subscriber may name as the age up to which it allows by what it knows."""
BATCH_CHANGES_MAX: Final = 1_000
"""Changes of the log that one message of a stream covers."""
SNAPSHOT_CHUNK_BYTES_MAX: Final = 256 * 1024
"""Bytes of the records of one message of a snapshot, unless one person alone has more."""

ORIGIN_CHARACTERS_MAX: Final = 200
"""Characters of a log's name, as a claim has it; those of heed's own have some 40."""
TILE_PATH_CHARACTERS_MAX: Final = 100

VIOLATIONS_MAX: Final = 100
"""Violations that an error names; its message has the count of all."""
STATUS_BYTES_MAX: Final = 4_096
"""Bytes of an error's details. They travel as metadata, of which peers take 8 KiB in all."""
STATUS_MESSAGE_CHARACTERS_MAX: Final = 500
STATUS_VALUE_CHARACTERS_MAX: Final = 200
"""Characters of one value of an error's metadata."""
