"""The language of SMP without I/O: bytes in, bytes out; times and randomness are arguments (docs/smp.md)."""
