"""The heed server: the library and a database."""
