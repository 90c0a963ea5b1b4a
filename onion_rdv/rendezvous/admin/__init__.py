"""What whoever runs a rendezvous server asks it and tells it, on Unix sockets of the machine that it runs on."""
