"""The main job over the rooms: audit a data set, save the result, the demo, the command line.

`dqcore.audit` is a function as well as this folder. `dqcore/__init__.py` imports the function from here, so the name
on the package ends up as the function, for good: Python sets the name to the folder only when it first loads it.
Reach the modules with `from dqcore.audit import cli`.
"""
