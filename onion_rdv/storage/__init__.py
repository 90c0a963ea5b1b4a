"""What the servers' stores have in common: SQLite files that one process has open, and how their faults are told."""
