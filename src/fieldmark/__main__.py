"""The command line, for those who start it as `python -m fieldmark`."""

from fieldmark.cli.app import main

if __name__ == "__main__":  # a process that a command starts imports this file again
    main()
