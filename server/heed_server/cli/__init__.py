"""The commands of `heed-server`."""
