"""`fieldmark data import`: write a manifest of folders, tables, or the lists of PKU FG-XMedia."""
