"""Fuzzing of everything that reads what strangers, files or tor have written: see docs/fuzzing.md."""
