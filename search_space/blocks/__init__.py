"""One file per block; importing the package registers them all, and those of the folders in ``SRNAS_BLOCKS``."""

import os
import sys

from srnas.search_space.registry import import_all

__path__.extend(folder for folder in os.environ.get("SRNAS_BLOCKS", "").split(os.pathsep) if folder)
import_all(sys.modules[__name__])
