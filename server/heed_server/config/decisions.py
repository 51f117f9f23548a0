"""The settings of the decision log: a line for each Check that was answered, in a file."""

from pathlib import Path

from heed_server.config.section import Section, setting


class DecisionLogConfig(Section):
    """What each Check was answered, in a file; read by `serve` and by `agent`."""

    file: Path | None = setting(
        None,
        "The file of JSON lines, made with mode 0600. Unset: none is kept. Each worker has its "
        "own: `NAME.worker-1.jsonl` of `NAME.jsonl`.",
    )
    file_bytes_max: int = setting(
        64 << 20,
        "A file that is larger is renamed to `NAME.1`, what was there to `NAME.2`, and so on.",
        higher="larger files",
        lower="more of them are needed for the same time",
        ge=64 << 10,
        le=1 << 40,
    )
    files_max: int = setting(
        8,
        "Files that are kept, the current one too; the oldest goes.",
        higher="more of the disk",
        lower="less of the past is kept",
        ge=1,
        le=1_000,
    )
    lines_queued_max: int = setting(
        50_000,
        "Decisions that wait to be written; more are dropped and counted. No Check waits for it.",
        higher="more memory, some 500 bytes each",
        lower="bursts are dropped sooner",
        ge=1_000,
        le=10_000_000,
    )
