"""The inbound edge: what providers of mail report of bounces and complaints becomes stops.

Source: the providers' documentation, named in each module; ADR 0050. docs/inbound.md.
"""
