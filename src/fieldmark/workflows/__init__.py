"""The verbs, one file each; the command line and the API call them."""
