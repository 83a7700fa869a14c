"""Where attention helps: ablation by position, maps, high-pass response, attribution, and effects over studies.

What users call is listed in the stub beside this file and loaded when it is asked for.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
