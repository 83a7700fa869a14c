"""Searches: photographs, training, the judge, studies, and the ``srnas`` command.

What users call is listed in the stub beside this file and loaded when it is asked for, so that the command answers at
once.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
