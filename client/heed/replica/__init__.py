"""The client's cache: a replica of a tenant's log on this host, and what it may answer by it.

Importing this package brings LMDB; `import heed` does not.
"""
