"""The real server on PostgreSQL, as a process: its database goes and comes back, and what clients see of that."""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING

from command_line import environment, onion_rdv
from offline_server import serving_offline
from offline_tor import COOKIE, offline_tor

from onion_rdv.protocol import ENTRY_SIZE, BucketId, bucket_link, decode_onion_address
from onion_rdv.protocol.bucket import entries
from onion_rdv.rendezvous.opening import STORE_FILE
from onion_rdv.tor.onion_service.hosting import KEY_FILE

if TYPE_CHECKING:
    from pathlib import Path

    from postgres_server import PostgresServer

SECRET = "hunter2-and-more"


async def test_without_its_database_it_is_busy_and_with_it_again_it_goes_on(
    postgres: PostgresServer, database_url: str, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    acknowledged: dict[bytes, BucketId] = {}
    with offline_tor(tmp_path, COOKIE) as tor:
        url = database_url.replace("onion@", f"onion:{SECRET}@")
        env = environment(tmp_path, ONION_RDV_CONTROL=tor.control, ONION_RDV_DATABASE=url)
        async with serving_offline(state, env=env) as server:
            onion_key = decode_onion_address((state / "server" / KEY_FILE).read_text().split("\n")[1])

            async def store() -> bool:
                entry = secrets.token_bytes(ENTRY_SIZE)
                if bucket_id := await server.store(entry):
                    acknowledged[entry] = bucket_id
                return bucket_id is not None

            assert await store()
            postgres.stop()
            try:
                for _ in range(5):
                    assert not await store()
                await server.wait_for("does not answer")
            finally:
                postgres.start()
            async with asyncio.timeout(20):
                while not await store():
                    await asyncio.sleep(0.05)
            for entry, bucket_id in acknowledged.items():
                bucket = await server.fetch(bucket_link(bucket_id, onion_key))
                assert entries(bucket or b"").count(entry) == 1
        complaints = [line for line in server.said if "does not answer" in line]
        assert len(complaints) == 1
        assert "goes on by itself when it is back" in complaints[0]
        assert not any(SECRET in line for line in server.said)
        assert not (state / "server" / STORE_FILE).exists()

        nowhere = postgres.url("nowhere").replace("onion@", f"onion:{SECRET}@")
        result = await onion_rdv("serve", "--state-dir", str(state), env=env | {"ONION_RDV_DATABASE": nowhere})
        assert (result.code, result.stdout) == (9, "")
        assert "(database nowhere) does not exist" in result.stderr
        assert "createdb" in result.stderr.splitlines()[-1]
        assert SECRET not in result.stderr
