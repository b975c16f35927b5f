"""Slicer's window without Slicer: PySide6 behind PythonQt's face, over the real scene of slicer-core. Unknown names raise."""
