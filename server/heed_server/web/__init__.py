"""The public edge: what a browser or a mailbox provider asks over HTTP, without a credential.

An edge translates, calls the service, translates: no rule lives here. The one place that knows the
web framework. Nothing is imported here, since it is loaded only where `web.address` is set.
Source: RFC 8058; ADR 0043.
"""
