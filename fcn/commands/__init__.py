"""The commands: from a checked configuration to built objects to a run.

One file per command, with a function of its name that takes the command's configuration and returns an exit status. Heavy imports stand
inside the functions: ``fcn --help`` and a wrong call are answered without them.
"""
