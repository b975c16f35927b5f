"""How good clicks make a mask: the simulator of METHODS B3 at work on real sessions, and what came of it."""
