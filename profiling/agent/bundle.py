"""The agent as one file that needs nothing of this package."""

from importlib.resources import files

# In the order in which they are imported.
_MODULES = (
    "order_statistics",
    "rounds",
    "host_clock",
    "agent.machine",
    "agent.models",
    "agent.onnx_session",
    "agent.measuring",
    "agent.files",
    "agent.server",
)

_HEAD = '''# /// script
# requires-python = ">=3.9"
# dependencies = ["numpy", "onnxruntime>=1.17"]
# ///
"""Times networks for srnas on this machine: uv run agent.py, or pip install numpy onnxruntime; python agent.py.

Written by "srnas target script": modules of srnas as they are, one after another.
"""

import sys
import types

MODULES = {}
'''
_TAIL = """
for name in ("srnas", "srnas.profiling", "srnas.profiling.agent"):
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__path__ = []
for name, source in MODULES.items():
    module = sys.modules[name] = types.ModuleType(name)
    parent, _, last = name.rpartition(".")
    setattr(sys.modules[parent], last, module)
    exec(compile(source, name, "exec"), module.__dict__)

if __name__ == "__main__":
    sys.modules["srnas.profiling.agent.server"].main([sys.executable, __file__])
"""


def script() -> str:
    """Return the agent's program."""
    package = files("srnas.profiling")
    parts = [_HEAD]
    for name in _MODULES:
        source = package.joinpath(f"{name.replace('.', '/')}.py").read_text(encoding="utf-8")
        parts.append(f"MODULES[{f'srnas.profiling.{name}'!r}] = {source!r}\n")
    return "".join(parts) + _TAIL
