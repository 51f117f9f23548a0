"""The public edge: what a browser or a mailbox provider asks over HTTP, without a credential.

Source: RFC 8058; ADR 0043.
"""
