"""Backups of a rendezvous server: its key, its clients and its buckets in one sealed file (docs/backup.md)."""
