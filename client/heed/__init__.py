"""The heed library: it decides, and asks a server for what it does not know."""
