"""The first screen of help: written by hand, and printed without importing anything."""

USAGE = """\
Usage: onion-rdv COMMAND [OPTIONS]

Hand a messaging link to one person through a Tor onion service that learns
nothing about it. Everything goes through Tor.

For people:
  offer [LINK]      seal a link, leave it at a rendezvous server, get an invite
  accept [INVITE]   turn an invite and its passphrase back into the link
  talk [INVITE]     begin a talk, or join one: write to each other right here
  info [INVITE]     say what an invite holds, without contacting anybody
  auth              keep the keys that private servers want: add, list, remove
  doctor            check tor, clock and settings, and say what to mend

For operators:
  serve             run a rendezvous server as an onion service
  status            say how the rendezvous server of this machine is
  authorize NAME    let only those in to it who were given a key
  backup FILE       put its key and all that it keeps into a sealed file
  restore FILE      put a backup back, here or on another machine
  messaging serve   run a small messaging server as an onion service
  withdraw          take back the onion service that a stopped server left

To try it:
  demo              show one rendezvous over a private Tor network
  testnet           run that private Tor network: up, down, status, run

  completion SHELL  print shell completion for bash, zsh or fish

Options:
  -h, --help        show this help; COMMAND --help shows a command's own
  --version         show the version

Most options can be set for good, as onion-rdv(1) says of each: as name = value
in ~/.config/onion-rdv/config.toml, or as ONION_RDV_NAME in the environment.
Results go to stdout, all else to stderr; --json prints results for programs.

Exit codes: 0 done, 2 usage, malformed input or stdout that takes nothing,
3 no Tor, or none any more, 4 server unreachable, 5 bucket unknown or expired,
6 wrong passphrase, 7 a server failed a check, or the codes of a talk differ,
8 messaging server unreachable or link dead (accept: with --probe=require), or
talk cut short, 9 store unusable, 70 a bug, 141 nobody reads the output.
"""
