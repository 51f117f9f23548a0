"""What makes heed's log verifiable: trees, tiles, signed checkpoints and receipts, as text.

Laws:
- Nothing here trusts the log: what is read is parsed in one spelling only, and whatever does not
  fit raises `ProofError`.
- All is plain RFC 6962 and C2SP, so that other people's tools check it too (ADR 0027).
- Pure, but for `signing`, which is the one module that knows a cryptographic library.
"""
