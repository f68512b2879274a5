"""The command line: arguments to a workflow to text; results on stdout, progress on stderr."""
