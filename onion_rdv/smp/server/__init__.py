"""The embedded messaging server: the part of SMP that handing over a link and a talk need."""
