"""The rendezvous server: a store of buckets and its web face."""
