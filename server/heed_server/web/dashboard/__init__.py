"""The dashboard: what operators and auditors look at, signed in; a listener of its own.

A view is one module of `views`; its page, its live update and its exports come from that one
definition (`view`). Source: ADR 0048.
"""
