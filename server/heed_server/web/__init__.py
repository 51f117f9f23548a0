"""The HTTP edges: each a package and a listener of its own, loaded only where its address is set.

An edge translates, calls the service, translates: no rule lives here. The one place that knows the
web framework. Nothing is imported here.
"""
