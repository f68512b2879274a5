"""Known layouts to items: lists of PKU FG-XMedia, folders, tables; each says what it took and what it left."""
