"""Which right each RPC needs: one row a method of the contract, none without (I7 of the tests).

What a call may need beyond its row is said by the service's method: `consent` for an opt-in,
`write` for the opt-outs of an import and for page links, `audit` for a stream of changes that is
verifiable, and to grant an approval the right of the call that asked for it.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from heed_server.auth.policy import Right

RIGHT_OF_METHOD: Mapping[str, Right] = MappingProxyType(
    {
        "CheckSuppression": Right.CHECK,
        "BatchCheckSuppression": Right.CHECK,
        "StreamCheckSuppression": Right.CHECK,
        "SetPreference": Right.WRITE,
        "BatchSetPreferences": Right.WRITE,
        "GetPreferences": Right.WRITE,
        "MakeLinks": Right.WRITE,
        "MakePageLinks": Right.CONSENT,
        "Explain": Right.AUDIT,
        "GetHistory": Right.AUDIT,
        "GetCheckpoint": Right.AUDIT,
        "GetReceipt": Right.WRITE,
        "GetInclusionProof": Right.AUDIT,
        "GetConsistencyProof": Right.AUDIT,
        "GetTile": Right.AUDIT,
        "CreateTenant": Right.ADMIN,
        "ListTenants": Right.ADMIN,
        "DeclareTopic": Right.ADMIN,
        "LoosenTopic": Right.ADMIN,
        "RetireTopic": Right.ADMIN,
        "ListTopics": Right.CHECK,
        "PlaceHold": Right.OPERATE,
        "LiftHold": Right.OPERATE,
        "ListHolds": Right.OPERATE,
        "AddSuppressions": Right.SUPPRESS,
        "ReleaseSuppression": Right.SUPPRESS,
        "ExportSubject": Right.EXPORT,
        "EraseSubject": Right.ADMIN,
        "ListSuppressions": Right.EXPORT,
        "ImportRecords": Right.SUPPRESS,
        "ExportRecords": Right.EXPORT,
        "RevertBatch": Right.ADMIN,
        "ReleaseSuppressions": Right.SUPPRESS,
        "ListApprovals": Right.ADMIN,
        "ListBatches": Right.AUDIT,
        "GrantApproval": Right.ADMIN,
        "RejectApproval": Right.ADMIN,
        "WatchChanges": Right.WATCH,
        "ReportApplied": Right.WATCH,
        "OfferRecords": Right.WATCH,
        "GetPropagation": Right.OPERATE,
        "GetDeadlines": Right.OPERATE,
        "ListWebhookTargets": Right.OPERATE,
        "ListDeadLetters": Right.OPERATE,
        "ReplayDeadLetters": Right.OPERATE,
        "DiscardDeadLetters": Right.OPERATE,
        "DeclareSubscriber": Right.OPERATE,
        "WithdrawSubscriber": Right.OPERATE,
    }
)
"""By the method's name; names of methods are unique across the services of the contract."""

LOOKING: Final = frozenset({Right.AUDIT, Right.OPERATE})
"""Any of these lets somebody look at the dashboard: at what is no one method's answer."""
