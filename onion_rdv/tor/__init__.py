"""What Tor gives: control, own processes, onion services, SOCKS streams, a private network."""
