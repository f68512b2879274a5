"""The command line: run a workflow, print its result on stdout and its progress on stderr."""
