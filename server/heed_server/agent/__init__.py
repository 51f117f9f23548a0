"""The composition root of `heed-server agent`: a replica on this host, which any client may ask."""
