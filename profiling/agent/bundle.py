"""The agent as one file that needs nothing of this package."""

from collections.abc import Sequence
from importlib.resources import files

from srnas.search_space import unknown_name

# In the order in which they are imported.
_MODULES = (
    "order_statistics",
    "rounds",
    "host_clock",
    "agent.machine",
    "agent.onnx_session",
    "agent.ncnn_net",
    "agent.executorch_method",
    "agent.runtimes",
    "agent.models",
    "agent.measuring",
    "agent.files",
    "agent.server",
)

# What it asks of its runtimes; tried were onnxruntime 1.19.2 and 1.32.0, ncnn 1.0.20261020 and executorch 1.5.1.
_OLDEST = {"onnxruntime": ">=1.17", "ncnn": "", "executorch": ">=1.0"}

_HEAD = '''# /// script
# requires-python = ">=3.9"
# dependencies = ["numpy", {dependencies}]
# ///
"""Times networks for srnas on this machine: uv run agent.py, or pip install numpy {packages}; python agent.py.

Written by "srnas target script": modules of srnas as they are, one after another.
"""

import sys
import types

MODULES = {{}}
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


def script(runtimes: Sequence[str] = ("onnxruntime",)) -> str:
    """Return the agent's program.

    Args:
        runtimes: What its dependencies hold, of ``onnxruntime``, ``ncnn`` and ``executorch``.

    Raises:
        InputError: If a runtime has no agent.
    """
    for name in runtimes:
        if name not in _OLDEST:
            raise unknown_name("runtime", name, _OLDEST)
    dependencies = ", ".join(f'"{name}{_OLDEST[name]}"' for name in runtimes)
    package = files("srnas.profiling")
    parts = [_HEAD.format(dependencies=dependencies, packages=" ".join(runtimes))]
    for name in _MODULES:
        source = package.joinpath(f"{name.replace('.', '/')}.py").read_text(encoding="utf-8")
        parts.append(f"MODULES[{f'srnas.profiling.{name}'!r}] = {source!r}\n")
    return "".join(parts) + _TAIL
