"""A talk: two people who have only this program write to each other over messaging servers (docs/talk.md).

The heart knows no socket, clock, file or task; times and randomness are arguments::

    link.py            the link that leads to a talk
    introductions.py   what each end says first: the beginner with the link, the joiner as the answer
    keys.py            the keys that both come to share, one for each frame, and the code of three words
    frames.py          what stands in a frame, and how it is sealed
    outbox.py          what waits to be sent, and what has arrived
    presence.py        whether the other is there
    session.py         one end of a talk, made of these
    meeting.py         how two ends meet, each in its role
    events.py          what happens, for whoever wants to know

Around it::

    pulse.py           waking up who waits for a change
    line.py            a connection that is made again whenever it breaks
    inbox.py           this end's queue
    outlet.py          the other's queue
    conversation.py    a talk under way, made of these
    opening.py         beginning a talk, or joining one
"""
