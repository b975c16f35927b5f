"""What the DiffSeg module is made of. Its window is in Widget, its decisions in Logic, and MRML meets arrays in SceneBridge.

Everything but Widget runs without Qt. Arrays are (K, J, I), the world is RAS millimetres, boxes are half-open, as in DiffSegCore.
"""
