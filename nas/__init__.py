"""Searches: photographs, training, the judge, studies, and the ``srnas`` command.

Nothing is imported here, so that the command answers at once; :mod:`srnas.nas.launch` starts a search.
"""
