"""What a person's program does: offer a link, accept one, look at the messaging server."""
