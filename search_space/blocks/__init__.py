"""One file per block; importing the package registers them all, and those of the folders in ``SRNAS_BLOCKS``."""

import os
import sys

from srnas.search_space.registry import import_all, import_folder

import_all(sys.modules[__name__])
for _folder in filter(None, os.environ.get("SRNAS_BLOCKS", "").split(os.pathsep)):
    import_folder(_folder)
