"""A server moves while an invite is under way: backed up as it runs, stopped, restored, started; it is the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aiohttp
from command_line import environment, onion_rdv
from prometheus_client.parser import text_string_to_metric_families
from server_process import serving

if TYPE_CHECKING:
    from pathlib import Path

    from onion_rdv.tor.testnet import Network

LINK = "simplex:/i#abcdefghijklmnopqrstuvwxyz012345/ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopq?h=smp.invalid"


async def test_an_invite_outlasts_its_servers_move(network: Network, tmp_path: Path) -> None:
    env = environment(tmp_path, **network.environment())
    here, there = str(tmp_path / "here"), str(tmp_path / "there")
    metrics, backup = tmp_path / "metrics.socket", str(tmp_path / "backup")
    async with serving("--state-dir", here, "--metrics-socket", str(metrics), env=env) as server:
        offered = await onion_rdv("offer", "-", "--server", server.name, "--json", env=env, stdin=LINK)
        assert offered.code == 0, offered.stderr
        status = (await onion_rdv("status", "--json", "--state-dir", here, env=env)).json
        assert (status["server"], status["published"], status["buckets"]) == (server.name, True, 1)
        assert status["tor_version"].startswith("0.4.")
        async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(metrics))) as session:
            said = await (await session.get("http://onion-rdv/metrics")).text()
        values = {family.name: family.samples[0].value for family in text_string_to_metric_families(said)}
        assert (values["onion_rdv_published"], values["onion_rdv_buckets"]) == (1, 1)
        saved = await onion_rdv(
            "backup", backup, "--state-dir", here, "--passphrase-file", "-", env=env, stdin="a b c"
        )
        assert saved.code == 0, saved.stderr
        name = server.name
    restored = await onion_rdv(
        "restore", backup, "--state-dir", there, "--passphrase-file", "-", env=env, stdin="a b c"
    )
    assert restored.code == 0, restored.stderr
    async with serving("--state-dir", there, env=env) as server:
        assert server.name == name
        words = ["accept", offered.json["invite"], "--no-probe", "--json", "--passphrase-file", "-"]
        accepted = await onion_rdv(*words, env=env, stdin=offered.json["passphrase"])
    assert accepted.json["link"] == LINK
