"""The agent that times networks on another machine; it needs only Python 3.9, numpy and a runtime there.

The modules of this package and those of ``srnas.profiling`` that :mod:`~srnas.profiling.agent.bundle` names are one
file on that machine; they import nothing of torch, and nothing that Python 3.9 lacks.
"""
