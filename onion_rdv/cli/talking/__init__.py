"""How a talk looks: to people at a terminal, to pipes, and to programs.

::

    face.py        what all three have in common
    words.py       what is told in plain words
    prompt.py      at a terminal: a prompt, and a line below it that says how things stand
    lines.py       lines in, lines out
    programs.py    JSON in, JSON out
    stdin.py       reading lines while everything else goes on
    writer.py      writing lines while everything else goes on
"""
