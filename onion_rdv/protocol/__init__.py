"""The rendezvous protocol, version 1, without I/O."""
