"""REST: what heed's contract says, in JSON over HTTP, for systems that do not speak gRPC.

Source: ADR 0047; docs/rest.md.
"""
