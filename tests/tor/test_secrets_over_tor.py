"""Where secrets go when each command starts a tor of its own: that tor, its files and its log are searched, too."""

from __future__ import annotations

from typing import TYPE_CHECKING

from canaries import a_link
from secret_watch import SecretWatch
from server_process import serving

from onion_rdv.tor.onion_service.hosting import KEY_FILE
from onion_rdv.tor.onion_service.key_file import load_or_create

if TYPE_CHECKING:
    from pathlib import Path

    from system_calls import Call

    from onion_rdv.tor.testnet import Network


async def test_secrets_stay_put_with_a_tor_of_our_own(network: Network, tmp_path: Path) -> None:
    watch, link = SecretWatch.at(tmp_path, **network.environment()), a_link()
    watch.env["ONION_RDV_MESSAGING_SERVER"] = "smp://u2dS9sG8nMNURyZwqASV4yROM28Er0luVTx5X1CsMrU=:secret@smp.invalid"
    for name in ("ONION_RDV_SOCKS", "ONION_RDV_CONTROL"):
        del watch.env[name]
    watch.canaries.text("link", link)
    async with (
        watch.recording("serve") as recorder,
        serving(env=watch.env, wrapper=recorder.wrapper) as server,
    ):
        offered = (await watch.run("offer", "-", "--server", server.name, "--json", stdin=link)).json
        watch.canaries.invite(offered["invite"], offered["passphrase"])
        file = watch.give("passphrase", offered["passphrase"])
        words = ["accept", "-", "--no-probe", "--passphrase-file", file]
        assert (await watch.run(*words, stdin=offered["invite"])).stdout == f"{link}\n"
    key_file = watch.home / ".local" / "state" / "onion-rdv" / "server" / KEY_FILE
    watch.canaries.raw("onion key", load_or_create(key_file).expanded)
    for name, calls in watch.calls.items():
        tors = _started(calls, "tor")
        assert tors
        assert [tor for tor in tors if b"HOME=" not in tor.given or b"ONION_RDV_" in tor.given] == [], name
    kept = {"onion key"}
    watch.check(
        offer={"stdout": {"invite", "passphrase"}},
        accept={"stdout": {"link"}},
        serve={KEY_FILE: kept, "socket": kept},
        files={str(key_file.relative_to(watch.home)): kept},
    )
    assert watch.canaries.found_below(network.directory) == {}, "nor does any tor of the network log one"


def _started(calls: list[Call], program: str) -> list[Call]:
    """Give the calls that started a program."""
    return [
        call for call in calls
        if call.name == "execve" and call.given.split(b"\0")[0].endswith(f"/{program}".encode())
    ]  # fmt: skip
