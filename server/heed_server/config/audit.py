"""The settings of the verifiable log."""

from heed_server.config.section import Section, setting


class AuditConfig(Section):
    """What the logs are, signed, so that others can verify it (docs/audit.md)."""

    checkpoint_seconds: float = setting(
        0.5,
        "How long after a change a checkpoint is signed that has it.",
        higher="receipts are to be had later",
        lower="more small writes to the database",
        ge=0.05,
        le=60,
    )
    lease_seconds: float = setting(
        10.0,
        "How long a node is the one that signs without saying so again.",
        higher="after a node was killed another takes over later",
        lower="more small writes to the database while there is something to sign",
        ge=0.5,
        le=3600,
    )
    retry_seconds: float = setting(
        10.0,
        "How long a log that cannot be signed, since it was changed, is left alone.",
        higher="signing goes on later once it is put right",
        lower="damage is read more often",
        ge=0.1,
        le=3600,
    )
