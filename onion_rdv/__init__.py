"""onion-rdv: hand a messaging link to one person through a Tor onion service that learns nothing about it."""

__version__ = "0.1.0"
