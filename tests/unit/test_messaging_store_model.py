"""The store of queues against a simple model of it, in sequences that hypothesis thinks up."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from queues import a_key, a_message, new_queue, open_queues, some_data

from onion_rdv.smp.server.queues import QUOTA, Message, Party, Queue, Sent
from onion_rdv.smp.wire.commands import LinkData, Mode

if TYPE_CHECKING:
    from pathlib import Path


@dataclass
class Model:
    """What a queue must be."""

    queue: Queue
    data: LinkData | None
    waiting: list[Message] = field(default_factory=list)
    is_full: bool = False

    def send(self, message: Message) -> Sent:
        if self.queue.is_off:
            return Sent.REFUSED
        if self.is_full and self.waiting:
            return Sent.FULL
        self.is_full = len(self.waiting) >= QUOTA
        if self.is_full:
            self.waiting.append(Message(message.message_id, message.time, None, message.notify))
            return Sent.FULL
        self.waiting.append(message)
        return Sent.KEPT_FIRST if len(self.waiting) == 1 else Sent.KEPT


class Machine(RuleBasedStateMachine):
    directory: Path

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.run = self.runner.run
        self.place = type(self).directory / secrets.token_hex(8)
        self.place.mkdir()
        self.models: list[Model] = []
        self.gone: list[Model] = []
        self.store = self.run(open_queues(self.place, lifetime=1e9))

    def teardown(self) -> None:
        self.run(self.store.close())
        self.runner.close()

    def pick(self, data: st.DataObject) -> Model:
        return data.draw(st.sampled_from(self.models))

    @rule(mode=st.sampled_from(Mode), has_link=st.booleans())
    def create(self, mode: Mode, *, has_link: bool) -> None:
        data = some_data() if has_link else None
        queue = self.run(self.store.create(new_queue(mode=mode, link=data)))
        assert queue is not None
        self.models.append(Model(queue, data))

    @precondition(lambda self: self.models)
    @rule(data=st.data(), count=st.one_of(st.integers(1, 5), st.integers(QUOTA - 5, QUOTA + 5)))
    def send(self, data: st.DataObject, count: int) -> None:
        async def together() -> list[Sent]:
            return await asyncio.gather(*(self.store.send(model.queue, message) for message in messages))

        model = self.pick(data)
        messages = [a_message() for _ in range(count)]
        assert self.run(together()) == [model.send(message) for message in messages]

    @precondition(lambda self: self.models)
    @rule(data=st.data(), count=st.integers(1, QUOTA + 1))
    def acknowledge(self, data: st.DataObject, count: int) -> None:
        model = self.pick(data)
        for _ in range(count):
            if not model.waiting:
                break
            first = model.waiting.pop(0)
            following = self.run(self.store.acknowledge(model.queue, first.message_id))
            assert following == (model.waiting[0] if model.waiting else None)

    @precondition(lambda self: self.models)
    @rule(data=st.data())
    def acknowledge_another(self, data: st.DataObject) -> None:
        model = self.pick(data)
        not_first = model.waiting[1].message_id if len(model.waiting) > 1 else secrets.token_bytes(24)
        following = self.run(self.store.acknowledge(model.queue, not_first))
        assert following == (model.waiting[0] if model.waiting else None)

    @precondition(lambda self: self.models)
    @rule(data=st.data(), again=st.booleans())
    def secure(self, data: st.DataObject, *, again: bool) -> None:
        model = self.pick(data)
        key = (again and model.queue.sender_key) or a_key()
        secured = self.run(self.store.secure(model.queue, key))
        if model.queue.sender_key in {None, key}:
            assert secured is not None
            assert secured.sender_key == key
            model.queue = secured
        else:
            assert secured is None

    @precondition(lambda self: self.models)
    @rule(data=st.data())
    def suspend(self, data: st.DataObject) -> None:
        model = self.pick(data)
        suspended = self.run(self.store.suspend(model.queue))
        assert suspended is not None
        model.queue = suspended

    @precondition(lambda self: self.models)
    @rule(data=st.data())
    def change_link(self, data: st.DataObject) -> None:
        model = self.pick(data)
        new = some_data() if model.data is None else LinkData(model.data.fixed, secrets.token_bytes(100))
        changed = self.run(self.store.set_link(model.queue, model.queue.link_id or secrets.token_bytes(24), new))
        assert changed is not None
        model.queue, model.data = changed, new

    @precondition(lambda self: self.models)
    @rule(data=st.data())
    def delete_link(self, data: st.DataObject) -> None:
        model = self.pick(data)
        changed = self.run(self.store.delete_link(model.queue))
        assert changed is not None
        assert changed.link_id is None
        model.queue, model.data = changed, None

    @precondition(lambda self: self.models)
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        model = self.pick(data)
        assert self.run(self.store.delete(model.queue))
        self.models.remove(model)
        self.gone.append(model)

    @rule()
    def restart(self) -> None:
        self.run(self.store.close())
        self.store = self.run(open_queues(self.place, lifetime=1e9))

    @invariant()
    def all_is_as_it_must_be(self) -> None:
        for model in self.models:
            contents = self.run(self.store.contents(model.queue))
            assert contents.size == len(model.waiting)
            assert contents.first == (model.waiting[0] if model.waiting else None)
            assert self.run(self.store.link(model.queue)) == model.data
        assert self.run(self.store.count()) == len(self.models)

    @invariant()
    def all_names_lead_where_they_must(self) -> None:
        for models, is_there in ((self.models, True), (self.gone, False)):
            for model in models:
                for party in Party:
                    if (name := model.queue.id_for(party)) is not None:
                        expected = model.queue if is_there else None
                        assert self.run(self.store.find(party, name)) == expected
                        assert self.run(self.store.look_up(party, name)) == expected


def test_the_store_does_as_its_model(tmp_path: Path) -> None:
    class HereMachine(Machine):
        directory = tmp_path

    run_state_machine_as_test(HereMachine, settings=settings(max_examples=25, stateful_step_count=25, deadline=None))
