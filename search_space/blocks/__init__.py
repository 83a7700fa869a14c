"""One file per block; importing the package registers them all."""

import sys

from srnas.search_space.registry import import_all

import_all(sys.modules[__name__])
