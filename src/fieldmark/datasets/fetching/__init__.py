"""Downloads of media: addresses that may be asked, hosts and their pace, one file, and what is written down of it."""
