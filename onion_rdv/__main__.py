"""``onion-rdv`` and ``python -m onion_rdv``."""

from __future__ import annotations

import gc
import os
import sys

from onion_rdv.cli import standard_streams


def run() -> None:
    """Run the command line; what is asked for most often is answered before anything is imported."""
    if not standard_streams.complete():
        sys.exit(_refuse_closed_stdout())
    arguments = sys.argv[1:]
    if "_ONION_RDV_COMPLETE" not in os.environ:
        if arguments in ([], ["-h"], ["--help"]):
            from onion_rdv.cli.usage import USAGE

            if _print(USAGE):
                return
            arguments = ["--help"]
        elif arguments == ["--version"]:
            from onion_rdv import __version__

            if _print(f"onion-rdv {__version__}\n"):
                return
    gc.disable()  # while modules are loaded there is no garbage: looking for it is a tenth of the time that takes
    if arguments[:1] != ["testnet"]:  # it has no secrets, and what it runs is a person's program
        from onion_rdv.cli import own_process

        own_process.close()
    from onion_rdv.cli.main import main
    from onion_rdv.cli.reports import take_over_reports

    take_over_reports()
    code = main(arguments)
    gc.freeze()  # nor has what is left to be looked through, for the process ends: that takes as long again
    sys.exit(code)


def _refuse_closed_stdout() -> int:
    from onion_rdv.cli.terminal import complain
    from onion_rdv.errors import OutputLost

    complain(OutputLost("it is closed", hint="open it, or have what is printed thrown away: >/dev/null"))
    return OutputLost.exit_code


def _print(text: str) -> bool:
    """Print to stdout; gives False where that cannot be, so that what fails next says why."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError:
        return False
    return True


if __name__ == "__main__":
    run()
