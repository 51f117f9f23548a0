"""The composition root of `heed-server serve`: a server with a database of its own."""
