"""A talk: two people who have only this program write to each other over a messaging server (docs/talk.md).

The heart knows no socket, clock, file or task; times and randomness are arguments::

    link.py            the link that leads to a talk
    introductions.py   what each end says first: the beginner with the link, the joiner as the answer
    keys.py            the keys that both come to share, one for each frame, and the code of three words
    frames.py          what stands in a frame, and how it is sealed
    outbox.py          what waits to be sent, and what has arrived
    presence.py        whether the other is there
    session.py         one end of a talk, made of these
"""
