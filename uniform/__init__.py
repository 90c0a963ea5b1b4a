"""How alike things are that must not be told apart, to somebody who counts and to somebody who throws dice."""
