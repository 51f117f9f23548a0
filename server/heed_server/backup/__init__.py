"""Backups: one file that holds a whole database, and the ways back from it."""
