"""Backup and restore: what is in a backup, how it is taken from a running gate, how it is put back, and the new log that begins then."""
