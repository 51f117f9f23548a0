"""What no backup of the database can read by itself: the root keys, and what is wrapped by them.

`root_file` is the file outside the database, `root` what it holds, `keysets` (what is encrypted)
and `sealing` (links) the two modules that know the library (Tink), `names` what the wrapped secrets
are called, `states` what may be shown. Nothing is imported here, since the library takes long to
load. Source: ADR 0029, ADR 0043.
"""
