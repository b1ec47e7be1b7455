"""One hardware a file: lower a model onto it, run it, and say what proves that it ran there.

Nothing here knows of tasks. ``probes`` is the one file that the pytest process may import.
"""
