"""Every call of the contract: its path, its messages, its deadline, whether it is retried.

Laws:
- There is one entry for each RPC; tests hold the table against the contract and docs/clients.md.
- A call is retried only where a second attempt does nothing that the first did not: reads, and
  writes that carry an idempotency key.
"""

from typing import Final

from google.protobuf.message import Message

from heed.connection.spec import Kind, MethodSpec
from heed_proto.v1 import admin_service_pb2 as admin
from heed_proto.v1 import audit_service_pb2 as audit
from heed_proto.v1 import preference_service_pb2 as preference
from heed_proto.v1 import watch_service_pb2 as watch

_PREFERENCES: Final = "heed.v1.PreferenceService"
_ADMIN: Final = "heed.v1.AdminService"
_AUDIT: Final = "heed.v1.AuditService"
_WATCH: Final = "heed.v1.WatchService"

CHECK: Final = MethodSpec(
    service=_PREFERENCES,
    name="CheckSuppression",
    request=preference.CheckSuppressionRequest,
    answer=preference.CheckSuppressionResponse,
    kind=Kind.DECISION,
    timeout_seconds=0.05,
)
CHECK_MANY: Final = MethodSpec(
    service=_PREFERENCES,
    name="BatchCheckSuppression",
    request=preference.BatchCheckSuppressionRequest,
    answer=preference.BatchCheckSuppressionResponse,
    kind=Kind.DECISION,
    timeout_seconds=1.0,
)
CHECK_STREAM: Final = MethodSpec(
    service=_PREFERENCES,
    name="StreamCheckSuppression",
    request=preference.StreamCheckSuppressionRequest,
    answer=preference.StreamCheckSuppressionResponse,
    kind=Kind.DECISION,
    timeout_seconds=1.0,  # of each check, the stream has no end
    is_retried=False,  # what was not answered is asked over the next stream
)
SET_PREFERENCE: Final = MethodSpec(
    service=_PREFERENCES,
    name="SetPreference",
    request=preference.SetPreferenceRequest,
    answer=preference.SetPreferenceResponse,
    kind=Kind.WRITE,
    timeout_seconds=2.0,
)
SET_PREFERENCES: Final = MethodSpec(
    service=_PREFERENCES,
    name="BatchSetPreferences",
    request=preference.BatchSetPreferencesRequest,
    answer=preference.BatchSetPreferencesResponse,
    kind=Kind.WRITE,
    timeout_seconds=10.0,
)
GET_PREFERENCES: Final = MethodSpec(
    service=_PREFERENCES,
    name="GetPreferences",
    request=preference.GetPreferencesRequest,
    answer=preference.GetPreferencesResponse,
    kind=Kind.READ,
    timeout_seconds=2.0,
)
MAKE_LINKS: Final = MethodSpec(
    service=_PREFERENCES,
    name="MakeLinks",
    request=preference.MakeLinksRequest,
    answer=preference.MakeLinksResponse,
    kind=Kind.READ,
    timeout_seconds=5.0,
)
MAKE_PAGE_LINKS: Final = MethodSpec(
    service=_PREFERENCES,
    name="MakePageLinks",
    request=preference.MakePageLinksRequest,
    answer=preference.MakePageLinksResponse,
    kind=Kind.READ,
    timeout_seconds=5.0,
)
EXPLAIN: Final = MethodSpec(
    service=_AUDIT,
    name="Explain",
    request=audit.ExplainRequest,
    answer=audit.ExplainResponse,
    kind=Kind.DECISION,
    timeout_seconds=2.0,
)
GET_HISTORY: Final = MethodSpec(
    service=_AUDIT,
    name="GetHistory",
    request=audit.GetHistoryRequest,
    answer=audit.GetHistoryResponse,
    kind=Kind.READ,
    timeout_seconds=5.0,
)
GET_CHECKPOINT: Final = MethodSpec(
    service=_AUDIT,
    name="GetCheckpoint",
    request=audit.GetCheckpointRequest,
    answer=audit.GetCheckpointResponse,
    kind=Kind.READ,
    timeout_seconds=5.0,
)
GET_RECEIPT: Final = MethodSpec(
    service=_AUDIT,
    name="GetReceipt",
    request=audit.GetReceiptRequest,
    answer=audit.GetReceiptResponse,
    kind=Kind.READ,
    timeout_seconds=5.0,
)
GET_INCLUSION_PROOF: Final = MethodSpec(
    service=_AUDIT,
    name="GetInclusionProof",
    request=audit.GetInclusionProofRequest,
    answer=audit.GetInclusionProofResponse,
    kind=Kind.READ,
    timeout_seconds=5.0,
)
GET_CONSISTENCY_PROOF: Final = MethodSpec(
    service=_AUDIT,
    name="GetConsistencyProof",
    request=audit.GetConsistencyProofRequest,
    answer=audit.GetConsistencyProofResponse,
    kind=Kind.READ,
    timeout_seconds=5.0,
)
GET_TILE: Final = MethodSpec(
    service=_AUDIT,
    name="GetTile",
    request=audit.GetTileRequest,
    answer=audit.GetTileResponse,
    kind=Kind.READ,
    timeout_seconds=5.0,
)
CREATE_TENANT: Final = MethodSpec(
    service=_ADMIN,
    name="CreateTenant",
    request=admin.CreateTenantRequest,
    answer=admin.CreateTenantResponse,
    kind=Kind.WRITE,
    timeout_seconds=5.0,
    is_retried=False,  # no key: a second attempt would say that the name is taken
)
LIST_TENANTS: Final = MethodSpec(
    service=_ADMIN,
    name="ListTenants",
    request=admin.ListTenantsRequest,
    answer=admin.ListTenantsResponse,
    kind=Kind.READ,
    timeout_seconds=5.0,
)
DECLARE_TOPIC: Final = MethodSpec(
    service=_ADMIN,
    name="DeclareTopic",
    request=admin.DeclareTopicRequest,
    answer=admin.DeclareTopicResponse,
    kind=Kind.WRITE,
    timeout_seconds=5.0,
)
LOOSEN_TOPIC: Final = MethodSpec(
    service=_ADMIN,
    name="LoosenTopic",
    request=admin.LoosenTopicRequest,
    answer=admin.LoosenTopicResponse,
    kind=Kind.WRITE,
    timeout_seconds=5.0,
)
RETIRE_TOPIC: Final = MethodSpec(
    service=_ADMIN,
    name="RetireTopic",
    request=admin.RetireTopicRequest,
    answer=admin.RetireTopicResponse,
    kind=Kind.WRITE,
    timeout_seconds=5.0,
)
LIST_TOPICS: Final = MethodSpec(
    service=_ADMIN,
    name="ListTopics",
    request=admin.ListTopicsRequest,
    answer=admin.ListTopicsResponse,
    kind=Kind.READ,
    timeout_seconds=5.0,
)
PLACE_HOLD: Final = MethodSpec(
    service=_ADMIN,
    name="PlaceHold",
    request=admin.PlaceHoldRequest,
    answer=admin.PlaceHoldResponse,
    kind=Kind.WRITE,
    timeout_seconds=5.0,
)
LIFT_HOLD: Final = MethodSpec(
    service=_ADMIN,
    name="LiftHold",
    request=admin.LiftHoldRequest,
    answer=admin.LiftHoldResponse,
    kind=Kind.WRITE,
    timeout_seconds=5.0,
)
LIST_HOLDS: Final = MethodSpec(
    service=_ADMIN,
    name="ListHolds",
    request=admin.ListHoldsRequest,
    answer=admin.ListHoldsResponse,
    kind=Kind.READ,
    timeout_seconds=5.0,
)
ADD_SUPPRESSIONS: Final = MethodSpec(
    service=_ADMIN,
    name="AddSuppressions",
    request=admin.AddSuppressionsRequest,
    answer=admin.AddSuppressionsResponse,
    kind=Kind.WRITE,
    timeout_seconds=5.0,
)
EXPORT_SUBJECT: Final = MethodSpec(
    service=_ADMIN,
    name="ExportSubject",
    request=admin.ExportSubjectRequest,
    answer=admin.ExportSubjectResponse,
    kind=Kind.READ,
    timeout_seconds=5.0,
)
ERASE_SUBJECT: Final = MethodSpec(
    service=_ADMIN,
    name="EraseSubject",
    request=admin.EraseSubjectRequest,
    answer=admin.EraseSubjectResponse,
    kind=Kind.WRITE,
    timeout_seconds=30.0,
)
RELEASE_SUPPRESSION: Final = MethodSpec(
    service=_ADMIN,
    name="ReleaseSuppression",
    request=admin.ReleaseSuppressionRequest,
    answer=admin.ReleaseSuppressionResponse,
    kind=Kind.WRITE,
    timeout_seconds=5.0,
)
LIST_SUPPRESSIONS: Final = MethodSpec(
    service=_ADMIN,
    name="ListSuppressions",
    request=admin.ListSuppressionsRequest,
    answer=admin.ListSuppressionsResponse,
    kind=Kind.READ,
    timeout_seconds=5.0,
)
IMPORT_RECORDS: Final = MethodSpec(
    service=_ADMIN,
    name="ImportRecords",
    request=admin.ImportRecordsRequest,
    answer=admin.ImportRecordsResponse,
    kind=Kind.WRITE,
    timeout_seconds=30.0,
)
EXPORT_RECORDS: Final = MethodSpec(
    service=_ADMIN,
    name="ExportRecords",
    request=admin.ExportRecordsRequest,
    answer=admin.ExportRecordsResponse,
    kind=Kind.READ,
    timeout_seconds=3600.0,
    is_retried=False,  # half of an export cannot be taken back
)
REVERT_BATCH: Final = MethodSpec(
    service=_ADMIN,
    name="RevertBatch",
    request=admin.RevertBatchRequest,
    answer=admin.RevertBatchResponse,
    kind=Kind.WRITE,
    timeout_seconds=3600.0,
)
RELEASE_SUPPRESSIONS: Final = MethodSpec(
    service=_ADMIN,
    name="ReleaseSuppressions",
    request=admin.ReleaseSuppressionsRequest,
    answer=admin.ReleaseSuppressionsResponse,
    kind=Kind.WRITE,
    timeout_seconds=3600.0,
)
LIST_BATCHES: Final = MethodSpec(
    service=_ADMIN,
    name="ListBatches",
    request=admin.ListBatchesRequest,
    answer=admin.ListBatchesResponse,
    kind=Kind.READ,
    timeout_seconds=5.0,
)
LIST_APPROVALS: Final = MethodSpec(
    service=_ADMIN,
    name="ListApprovals",
    request=admin.ListApprovalsRequest,
    answer=admin.ListApprovalsResponse,
    kind=Kind.READ,
    timeout_seconds=5.0,
)
GRANT_APPROVAL: Final = MethodSpec(
    service=_ADMIN,
    name="GrantApproval",
    request=admin.GrantApprovalRequest,
    answer=admin.GrantApprovalResponse,
    kind=Kind.WRITE,
    timeout_seconds=5.0,
    is_retried=False,  # no key; calling again does nothing more
)
REJECT_APPROVAL: Final = MethodSpec(
    service=_ADMIN,
    name="RejectApproval",
    request=admin.RejectApprovalRequest,
    answer=admin.RejectApprovalResponse,
    kind=Kind.WRITE,
    timeout_seconds=5.0,
    is_retried=False,  # no key; calling again does nothing more
)

WATCH_CHANGES: Final = MethodSpec(
    service=_WATCH,
    name="WatchChanges",
    request=watch.WatchChangesRequest,
    answer=watch.WatchChangesResponse,
    kind=Kind.READ,
    timeout_seconds=0.0,
    is_retried=False,  # the follower opens streams, and backs off by itself
)
REPORT_APPLIED: Final = MethodSpec(
    service=_WATCH,
    name="ReportApplied",
    request=watch.ReportAppliedRequest,
    answer=watch.ReportAppliedResponse,
    kind=Kind.READ,
    timeout_seconds=1.0,
    is_retried=False,  # the next probe says more
)
OFFER_RECORDS: Final = MethodSpec(
    service=_WATCH,
    name="OfferRecords",
    request=watch.OfferRecordsRequest,
    answer=watch.OfferRecordsResponse,
    kind=Kind.WRITE,
    timeout_seconds=10.0,
    is_retried=False,  # the follower offers again, with the same key
)

LIST_WEBHOOK_TARGETS: Final = MethodSpec(
    service=_ADMIN,
    name="ListWebhookTargets",
    request=admin.ListWebhookTargetsRequest,
    answer=admin.ListWebhookTargetsResponse,
    kind=Kind.READ,
    timeout_seconds=5.0,
)
LIST_DEAD_LETTERS: Final = MethodSpec(
    service=_ADMIN,
    name="ListDeadLetters",
    request=admin.ListDeadLettersRequest,
    answer=admin.ListDeadLettersResponse,
    kind=Kind.READ,
    timeout_seconds=5.0,
)
REPLAY_DEAD_LETTERS: Final = MethodSpec(
    service=_ADMIN,
    name="ReplayDeadLetters",
    request=admin.ReplayDeadLettersRequest,
    answer=admin.ReplayDeadLettersResponse,
    kind=Kind.WRITE,
    timeout_seconds=10.0,
    is_retried=False,  # no key; calling again finds none
)
DISCARD_DEAD_LETTERS: Final = MethodSpec(
    service=_ADMIN,
    name="DiscardDeadLetters",
    request=admin.DiscardDeadLettersRequest,
    answer=admin.DiscardDeadLettersResponse,
    kind=Kind.WRITE,
    timeout_seconds=10.0,
    is_retried=False,  # no key; calling again finds none
)
GET_PROPAGATION: Final = MethodSpec(
    service=_WATCH,
    name="GetPropagation",
    request=watch.GetPropagationRequest,
    answer=watch.GetPropagationResponse,
    kind=Kind.READ,
    timeout_seconds=2.0,
)
GET_DEADLINES: Final = MethodSpec(
    service=_WATCH,
    name="GetDeadlines",
    request=watch.GetDeadlinesRequest,
    answer=watch.GetDeadlinesResponse,
    kind=Kind.READ,
    timeout_seconds=10.0,
)
DECLARE_SUBSCRIBER: Final = MethodSpec(
    service=_WATCH,
    name="DeclareSubscriber",
    request=watch.DeclareSubscriberRequest,
    answer=watch.DeclareSubscriberResponse,
    kind=Kind.WRITE,
    timeout_seconds=5.0,
    is_retried=False,  # no key; calling again does nothing more
)
WITHDRAW_SUBSCRIBER: Final = MethodSpec(
    service=_WATCH,
    name="WithdrawSubscriber",
    request=watch.WithdrawSubscriberRequest,
    answer=watch.WithdrawSubscriberResponse,
    kind=Kind.WRITE,
    timeout_seconds=5.0,
    is_retried=False,  # no key; calling again does nothing more
)

METHODS: Final[tuple[MethodSpec[Message, Message], ...]] = (
    CHECK,
    CHECK_MANY,
    CHECK_STREAM,
    SET_PREFERENCE,
    SET_PREFERENCES,
    GET_PREFERENCES,
    MAKE_LINKS,
    MAKE_PAGE_LINKS,
    EXPLAIN,
    GET_HISTORY,
    GET_CHECKPOINT,
    GET_RECEIPT,
    GET_INCLUSION_PROOF,
    GET_CONSISTENCY_PROOF,
    GET_TILE,
    CREATE_TENANT,
    LIST_TENANTS,
    DECLARE_TOPIC,
    LOOSEN_TOPIC,
    RETIRE_TOPIC,
    LIST_TOPICS,
    PLACE_HOLD,
    LIFT_HOLD,
    LIST_HOLDS,
    ADD_SUPPRESSIONS,
    RELEASE_SUPPRESSION,
    EXPORT_SUBJECT,
    ERASE_SUBJECT,
    LIST_SUPPRESSIONS,
    IMPORT_RECORDS,
    EXPORT_RECORDS,
    REVERT_BATCH,
    RELEASE_SUPPRESSIONS,
    LIST_BATCHES,
    LIST_APPROVALS,
    GRANT_APPROVAL,
    REJECT_APPROVAL,
    LIST_WEBHOOK_TARGETS,
    LIST_DEAD_LETTERS,
    REPLAY_DEAD_LETTERS,
    DISCARD_DEAD_LETTERS,
    GET_PROPAGATION,
    GET_DEADLINES,
    DECLARE_SUBSCRIBER,
    WITHDRAW_SUBSCRIBER,
)
"""All that callers make; what a cache's follower calls is in `FOLLOWING`."""

FOLLOWING: Final[tuple[MethodSpec[Message, Message], ...]] = (
    WATCH_CHANGES,
    REPORT_APPLIED,
    OFFER_RECORDS,
)
"""What a follower calls, on a channel of its own (`heed.connection.watching`)."""
